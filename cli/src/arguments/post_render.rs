//! `--post-renderer`

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;

use chart_render::{PostRender, PostRenderError};

/// Most bytes that a post-renderer may give.
const OUTPUT_BYTES_MAX: u64 = 256 << 20;

/// A program that changes the manifests.
#[derive(clap::Args)]
#[command(next_help_heading = "Rendering")]
pub(crate) struct PostRenderArgs {
    /// Program that gets all manifests on stdin, and prints those to take instead
    #[arg(long, value_name = "PROGRAM")]
    post_renderer: Option<String>,
    /// Argument for the post-renderer, may be repeated
    #[arg(
        long,
        value_name = "ARGUMENT",
        requires = "post_renderer",
        allow_hyphen_values = true
    )]
    post_renderer_args: Vec<String>,
}

impl PostRenderArgs {
    /// The program, if one is named.
    pub(crate) fn post_renderer(&self) -> Option<Arc<dyn PostRender>> {
        let program = self.post_renderer.clone()?;
        let arguments = self.post_renderer_args.clone();
        Some(Arc::new(Program { program, arguments }))
    }
}

/// A program on this machine.
#[derive(Debug)]
struct Program {
    program: String,
    arguments: Vec<String>,
}

impl PostRender for Program {
    fn run(&self, manifests: &str) -> Result<String, PostRenderError> {
        let failed = |reason: String| PostRenderError::Failed {
            program: self.program.clone(),
            reason,
        };
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut text = Vec::new();
        let mut said = String::new();
        // A program may print before it has read everything, and fill one pipe while the others are waited for.
        let read = std::thread::scope(|scope| {
            scope.spawn(move || {
                if let Some(mut stdin) = stdin {
                    // A program that does not want all of it is no fault.
                    let _ = stdin.write_all(manifests.as_bytes());
                }
            });
            scope.spawn(|| {
                if let Some(stderr) = stderr {
                    let _ = stderr.take(1 << 20).read_to_string(&mut said);
                }
            });
            let read = stdout.map_or(Ok(0), |stdout| {
                stdout.take(OUTPUT_BYTES_MAX + 1).read_to_end(&mut text)
            });
            if text.len() as u64 > OUTPUT_BYTES_MAX {
                // It would write on for ever, and never read.
                let _ = child.kill();
            }
            read
        });
        if text.len() as u64 > OUTPUT_BYTES_MAX {
            let _ = child.wait();
            return Err(failed(format!("it gives more than {OUTPUT_BYTES_MAX} bytes")));
        }
        let status = child.wait().map_err(|error| failed(error.to_string()))?;
        read.map_err(|error| failed(error.to_string()))?;
        if !status.success() {
            let said = said.trim();
            return Err(failed(if said.is_empty() {
                status.to_string()
            } else {
                format!("{status}: {said}")
            }));
        }
        let text = String::from_utf8(text).map_err(|_| failed("its output is no UTF-8".to_owned()))?;
        if text.trim().is_empty() {
            return Err(PostRenderError::Empty {
                program: self.program.clone(),
            });
        }
        Ok(text)
    }
}
