//! `tug test`

use std::time::Duration;

use chart_release::action::Test;

use super::{block_on, explain, run_until_interrupted};
use crate::connection::{self, Start};
use crate::duration;
use crate::failure::Failure;
use crate::output::{OutputArgs, OutputFormat};
use crate::release_text::{self, Parts};
use crate::settings::Settings;

/// Run the tests of a release
#[derive(clap::Args)]
pub(crate) struct TestArgs {
    /// Name of the release
    name: String,
    /// Only tests `name=TEST`, or none of `!name=TEST`; may be repeated
    #[arg(long, value_name = "FILTER", value_delimiter = ',')]
    filter: Vec<String>,
    /// Print the logs of the tests, on stderr
    #[arg(long)]
    logs: bool,
    /// Longest wait for one test, as `5m0s`
    #[arg(long, value_name = "DURATION", default_value = "5m0s", value_parser = duration::parse)]
    timeout: Duration,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(arguments: &TestArgs, settings: &Settings) -> Result<(), Failure> {
    let (include, exclude) = filters(&arguments.filter)?;
    let action = Test {
        name: arguments.name.clone(),
        include,
        exclude,
        timeout: arguments.timeout,
        logs: arguments.logs,
    };
    let config = connection::choose(settings, Start::IfThere)?;
    let (release, failed) = block_on(async {
        let cluster = connection::connect(settings, &config).await?;
        let outcome = run_until_interrupted(&cluster, action.run(&cluster)).await;
        outcome.map_err(|error| explain(&error))
    })?;
    let parts = Parts {
        hide_notes: arguments.output.output == OutputFormat::Table && failed.is_some(),
        ..Parts::default()
    };
    release_text::print(&release, arguments.output.output, &parts, settings)?;
    match failed {
        None => Ok(()),
        Some(error) if arguments.logs => Err(explain(&error)),
        Some(error) => Err(explain(&error).hint(format!(
            "`tug test {} --logs` shows what they print",
            release.name
        ))),
    }
}

fn filters(texts: &[String]) -> Result<(Vec<String>, Vec<String>), Failure> {
    let mut include = Vec::new();
    let mut exclude = Vec::new();
    for text in texts {
        if let Some(name) = text.strip_prefix("name=") {
            include.push(name.to_owned());
        } else if let Some(name) = text.strip_prefix("!name=") {
            exclude.push(name.to_owned());
        } else {
            return Err(Failure::new(format!("cannot read filter `{text}`"))
                .because("expected `name=TEST` or `!name=TEST`"));
        }
    }
    Ok((include, exclude))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_name_tests() {
        let (include, exclude) = filters(&["name=a".into(), "!name=b".into()]).unwrap();
        assert_eq!((include, exclude), (vec!["a".to_owned()], vec!["b".to_owned()]));
    }

    #[test]
    fn err_a_filter_by_something_else() {
        assert!(filters(&["kind=a".into()]).is_err());
    }
}
