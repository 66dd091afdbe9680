//! Tokens to trees.

use std::collections::VecDeque;
use std::rc::Rc;

use super::lexer::{Lexer, Token, TokenKind};
use super::number;
use super::tree::{Branch, Node, NodeId, Number, Source, Syntax};
use super::unquote::{unquote, unquote_char};

/// A named template of a text: a `define`, a `block`, or the text itself.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: Rc<str>,
    pub(crate) body: Vec<NodeId>,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) line: u32,
    /// The byte where reading stopped.
    pub(crate) pos: usize,
    pub(crate) message: String,
}

/// Reads a text.
///
/// `known` tells which functions there are; `depth_max` bounds how deep blocks and parentheses may nest.
pub(crate) fn parse(
    name: &str,
    text: &str,
    depth_max: usize,
    known: &dyn Fn(&str) -> bool,
) -> Result<(Source, Vec<Definition>), SyntaxError> {
    if u32::try_from(text.len()).is_err() {
        return Err(SyntaxError {
            line: 1,
            pos: 0,
            message: "template is larger than 4 GiB".to_owned(),
        });
    }
    let mut parser = Parser {
        name,
        text,
        lexer: Lexer::new(text),
        waiting: VecDeque::new(),
        line: 1,
        pos: 0,
        nodes: Vec::new(),
        definitions: Vec::new(),
        scope: Scope::default(),
        action_line: None,
        depth: 0,
        depth_max,
        known,
    };
    let body = parser.whole()?;
    parser.define(name, body)?;
    let source = Source {
        name: name.into(),
        text: text.into(),
        nodes: parser.nodes,
    };
    Ok((source, parser.definitions))
}

/// Whether a template holds nothing but white space and comments.
pub(crate) fn is_empty(source: &Source, body: &[NodeId]) -> bool {
    body.iter().all(|id| is_blank(&source.nodes, &source.text, *id))
}

fn is_blank(nodes: &[Node], text: &str, id: NodeId) -> bool {
    let node = &nodes[id.0 as usize];
    match node.syntax {
        Syntax::Text { end } => text[node.pos as usize..end as usize].trim().is_empty(),
        _ => false,
    }
}

/// What is visible at a place of a template.
#[derive(Default)]
struct Scope {
    variables: Vec<String>,
    ranges: usize,
}

/// What ended a list of nodes.
enum Ending {
    End,
    Else,
}

enum Item {
    Node(NodeId),
    Ending(Ending),
}

type Parsed<T> = Result<T, SyntaxError>;

struct Parser<'t> {
    name: &'t str,
    text: &'t str,
    lexer: Lexer<'t>,
    /// Tokens read ahead.
    waiting: VecDeque<Token>,
    /// Where the last token taken stands.
    line: u32,
    pos: usize,
    nodes: Vec<Node>,
    definitions: Vec<Definition>,
    scope: Scope,
    action_line: Option<u32>,
    depth: usize,
    depth_max: usize,
    known: &'t dyn Fn(&str) -> bool,
}

impl<'t> Parser<'t> {
    // Tokens.

    fn look(&mut self, ahead: usize) -> &Token {
        while self.waiting.len() <= ahead {
            let token = self.lexer.next_token();
            self.waiting.push_back(token);
        }
        &self.waiting[ahead]
    }

    fn peek(&mut self) -> TokenKind {
        self.look(0).kind
    }

    fn next(&mut self) -> Token {
        self.look(0);
        match self.waiting.pop_front() {
            Some(token) => {
                self.line = token.line;
                self.pos = token.start;
                token
            }
            None => self.lexer.next_token(),
        }
    }

    fn peek_past_space(&mut self) -> TokenKind {
        while self.peek() == TokenKind::Space {
            self.next();
        }
        self.peek()
    }

    fn next_past_space(&mut self) -> Token {
        self.peek_past_space();
        self.next()
    }

    fn back(&mut self, token: Token) {
        self.waiting.push_front(token);
    }

    fn expect(&mut self, kind: TokenKind, context: &str) -> Parsed<Token> {
        let token = self.next_past_space();
        if token.kind == kind {
            Ok(token)
        } else {
            Err(self.unexpected(&token, context))
        }
    }

    fn value(&self, token: &Token) -> &'t str {
        &self.text[token.start..token.end]
    }

    // Errors.

    fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError {
            line: self.line,
            pos: self.pos,
            message: message.into(),
        }
    }

    fn unexpected(&self, token: &Token, context: &str) -> SyntaxError {
        let Some(message) = &token.message else {
            return self.error(format!("unexpected {} in {context}", token.describe(self.text)));
        };
        let Some(line) = self.action_line.filter(|line| *line != token.line) else {
            return self.error(message.clone());
        };
        let name = self.name;
        let started = if message.ends_with(" action") {
            " started at "
        } else {
            " in action started at "
        };
        self.error(format!("{message}{started}{name}:{line}"))
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= self.depth_max {
            return Err(self.error(format!(
                "blocks and parentheses nest deeper than {}",
                self.depth_max
            )));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    // Nodes.

    fn node(&mut self, pos: usize, syntax: Syntax) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(Node {
            pos: u32::try_from(pos).unwrap_or(u32::MAX),
            syntax,
        });
        id
    }

    fn define(&mut self, name: &str, body: Vec<NodeId>) -> Parsed<()> {
        let blank = |body: &[NodeId]| body.iter().all(|id| is_blank(&self.nodes, self.text, *id));
        let Some(at) = self.definitions.iter().position(|known| &*known.name == name) else {
            self.definitions.push(Definition {
                name: name.into(),
                body,
            });
            return Ok(());
        };
        if blank(&self.definitions[at].body) {
            self.definitions[at].body = body;
        } else if !blank(&body) {
            let name = crate::format::quote(name.as_bytes());
            return Err(self.error(format!("template: multiple definition of template {name}")));
        }
        Ok(())
    }

    // Statements.

    fn whole(&mut self) -> Parsed<Vec<NodeId>> {
        self.scope.variables.push("$".to_owned());
        let mut body = Vec::new();
        while self.peek() != TokenKind::End {
            if self.peek() == TokenKind::LeftDelim {
                let delim = self.next();
                if self.peek_past_space() == TokenKind::Define {
                    self.next();
                    self.definition()?;
                    continue;
                }
                self.back(delim);
            }
            match self.text_or_action()? {
                Item::Node(node) => body.push(node),
                Item::Ending(Ending::End) => return Err(self.error("unexpected {{end}}")),
                Item::Ending(Ending::Else) => return Err(self.error("unexpected {{else}}")),
            }
        }
        Ok(body)
    }

    fn definition(&mut self) -> Parsed<()> {
        let token = self.next_past_space();
        let name = match token.kind {
            TokenKind::String | TokenKind::RawString => self.unquoted(&token)?,
            _ => return Err(self.unexpected(&token, "define clause")),
        };
        self.expect(TokenKind::RightDelim, "define clause")?;
        let body = self.named_body("define clause")?;
        self.define(&name, body)
    }

    /// The body of a `define` or a `block`: it sees no variable from outside.
    fn named_body(&mut self, context: &str) -> Parsed<Vec<NodeId>> {
        let inner = Scope {
            variables: vec!["$".to_owned()],
            ranges: 0,
        };
        let outer = std::mem::replace(&mut self.scope, inner);
        let (body, ending) = self.deeper(Self::list)?;
        self.scope = outer;
        match ending {
            Ending::End => Ok(body),
            Ending::Else => Err(self.error(format!("unexpected {{{{else}}}} in {context}"))),
        }
    }

    fn unquoted(&self, token: &Token) -> Parsed<String> {
        unquote(self.value(token)).ok_or_else(|| self.error("invalid syntax"))
    }

    fn list(&mut self) -> Parsed<(Vec<NodeId>, Ending)> {
        let mut list = Vec::new();
        while self.peek_past_space() != TokenKind::End {
            match self.text_or_action()? {
                Item::Node(node) => list.push(node),
                Item::Ending(ending) => return Ok((list, ending)),
            }
        }
        self.line = self.look(0).line;
        self.pos = self.text.len();
        Err(self.error("unexpected EOF"))
    }

    fn text_or_action(&mut self) -> Parsed<Item> {
        let token = self.next_past_space();
        match token.kind {
            TokenKind::Text => {
                let end = u32::try_from(token.end).unwrap_or(u32::MAX);
                Ok(Item::Node(self.node(token.start, Syntax::Text { end })))
            }
            TokenKind::LeftDelim => {
                self.action_line = Some(token.line);
                let item = self.action()?;
                self.action_line = None;
                Ok(item)
            }
            _ => Err(self.unexpected(&token, "input")),
        }
    }

    fn action(&mut self) -> Parsed<Item> {
        let token = self.next_past_space();
        let node = match token.kind {
            TokenKind::Block => self.block()?,
            TokenKind::Break => self.jump(&token, "{{break}}", Syntax::Break)?,
            TokenKind::Continue => self.jump(&token, "{{continue}}", Syntax::Continue)?,
            TokenKind::Else => {
                // `else if` and `else with` are read on by the block that they continue.
                if !matches!(self.peek_past_space(), TokenKind::If | TokenKind::With) {
                    self.expect(TokenKind::RightDelim, "else")?;
                }
                return Ok(Item::Ending(Ending::Else));
            }
            TokenKind::EndKeyword => {
                self.expect(TokenKind::RightDelim, "end")?;
                return Ok(Item::Ending(Ending::End));
            }
            TokenKind::If => self.deeper(|parser| parser.control(token.start, "if"))?,
            TokenKind::With => self.deeper(|parser| parser.control(token.start, "with"))?,
            TokenKind::Range => self.deeper(|parser| parser.control(token.start, "range"))?,
            TokenKind::Template => self.template()?,
            _ => {
                let pos = token.start;
                self.back(token);
                let pipe = self.pipeline("command", TokenKind::RightDelim)?;
                self.node(pos, Syntax::Action { pipe })
            }
        };
        Ok(Item::Node(node))
    }

    fn jump(&mut self, token: &Token, word: &str, syntax: Syntax) -> Parsed<NodeId> {
        let next = self.next_past_space();
        if next.kind != TokenKind::RightDelim {
            return Err(self.unexpected(&next, word));
        }
        if self.scope.ranges == 0 {
            return Err(self.error(format!("{word} outside {{{{range}}}}")));
        }
        Ok(self.node(token.start, syntax))
    }

    fn control(&mut self, pos: usize, context: &str) -> Parsed<NodeId> {
        let visible = self.scope.variables.len();
        // A chain of `else if` is read in a loop, as it may be longer than blocks may be deep.
        let mut branches = Vec::new();
        let otherwise = loop {
            let pipe = self.pipeline(context, TokenKind::RightDelim)?;
            let looping = usize::from(context == "range");
            self.scope.ranges += looping;
            let (then, ending) = self.list()?;
            self.scope.ranges -= looping;
            branches.push(Branch { pipe, then });
            if matches!(ending, Ending::End) {
                break Vec::new();
            }
            let chained = match self.peek() {
                TokenKind::If => context == "if",
                TokenKind::With => context == "with",
                _ => false,
            };
            if chained {
                self.next();
                continue;
            }
            let (otherwise, ending) = self.list()?;
            if matches!(ending, Ending::Else) {
                return Err(self.error("expected end; found {{else}}"));
            }
            break otherwise;
        };
        self.scope.variables.truncate(visible);
        let syntax = match (context, branches.pop()) {
            ("range", Some(Branch { pipe, then: body })) => Syntax::Range {
                pipe,
                body,
                otherwise,
            },
            (_, last) => {
                branches.extend(last);
                if context == "with" {
                    Syntax::With { branches, otherwise }
                } else {
                    Syntax::If { branches, otherwise }
                }
            }
        };
        Ok(self.node(pos, syntax))
    }

    fn template_name(&self, token: &Token, context: &str) -> Parsed<Rc<str>> {
        match token.kind {
            TokenKind::String | TokenKind::RawString => Ok(self.unquoted(token)?.into()),
            _ => Err(self.unexpected(token, context)),
        }
    }

    fn template(&mut self) -> Parsed<NodeId> {
        let token = self.next_past_space();
        let name = self.template_name(&token, "template clause")?;
        let pipe = if self.peek_past_space() == TokenKind::RightDelim {
            self.next();
            None
        } else {
            Some(self.pipeline("template clause", TokenKind::RightDelim)?)
        };
        Ok(self.node(token.start, Syntax::Template { name, pipe }))
    }

    fn block(&mut self) -> Parsed<NodeId> {
        let token = self.next_past_space();
        let name = self.template_name(&token, "block clause")?;
        let pipe = self.pipeline("block clause", TokenKind::RightDelim)?;
        let body = self.named_body("block clause")?;
        self.define(&name, body)?;
        Ok(self.node(
            token.start,
            Syntax::Template {
                name,
                pipe: Some(pipe),
            },
        ))
    }

    // Expressions.

    fn pipeline(&mut self, context: &str, end: TokenKind) -> Parsed<NodeId> {
        self.peek_past_space();
        let pos = self.look(0).start;
        let (declared, assign) = self.declarations(context)?;
        let mut commands = Vec::new();
        loop {
            let token = self.next_past_space();
            use TokenKind as K;
            match token.kind {
                kind if kind == end => break,
                K::Bool
                | K::CharConstant
                | K::Complex
                | K::Dot
                | K::Field
                | K::Identifier
                | K::Number
                | K::Nil
                | K::RawString
                | K::String
                | K::Variable
                | K::LeftParen => {
                    self.back(token);
                    commands.push(self.command()?);
                }
                _ => return Err(self.unexpected(&token, context)),
            }
        }
        if commands.is_empty() {
            return Err(self.error(format!("missing value for {context}")));
        }
        for (i, command) in commands.iter().enumerate().skip(1) {
            let Syntax::Command { args } = &self.nodes[command.0 as usize].syntax else {
                continue;
            };
            let first = args.first().map(|id| &self.nodes[id.0 as usize].syntax);
            if matches!(
                first,
                Some(
                    Syntax::Bool(_)
                        | Syntax::Dot
                        | Syntax::Nil
                        | Syntax::Number { .. }
                        | Syntax::String { .. }
                )
            ) {
                return Err(self.error(format!("non executable command in pipeline stage {}", i + 1)));
            }
        }
        Ok(self.node(
            pos,
            Syntax::Pipe {
                declared,
                assign,
                commands,
            },
        ))
    }

    fn declarations(&mut self, context: &str) -> Parsed<(Vec<NodeId>, bool)> {
        let mut declared = Vec::new();
        while self.peek_past_space() == TokenKind::Variable {
            // `$x := ...` declares, `$x ...` uses: the token after the spaces tells.
            let spaced = usize::from(self.look(1).kind == TokenKind::Space);
            let next = self.look(1 + spaced).clone();
            let comma = next.kind == TokenKind::Char && self.value(&next) == ",";
            let assign = next.kind == TokenKind::Assign;
            if !comma && !assign && next.kind != TokenKind::Declare {
                break;
            }
            let variable = self.next();
            self.next_past_space();
            let name = self.value(&variable);
            let path = vec![Box::from(name)];
            declared.push(self.node(variable.start, Syntax::Variable { path }));
            self.scope.variables.push(name.to_owned());
            if !comma {
                return Ok((declared, assign));
            }
            if context != "range" || declared.len() >= 2 {
                return Err(self.error(format!("too many declarations in {context}")));
            }
            use TokenKind as K;
            if !matches!(
                self.peek_past_space(),
                K::Variable | K::RightDelim | K::RightParen
            ) {
                return Err(self.error("range can only initialize variables"));
            }
        }
        Ok((declared, false))
    }

    fn command(&mut self) -> Parsed<NodeId> {
        self.peek_past_space();
        let pos = self.look(0).start;
        let mut args = Vec::new();
        loop {
            self.peek_past_space();
            if let Some(operand) = self.operand()? {
                args.push(operand);
            }
            let token = self.next();
            match token.kind {
                TokenKind::Space => continue,
                TokenKind::RightDelim | TokenKind::RightParen => self.back(token),
                TokenKind::Pipe => {}
                _ => return Err(self.unexpected(&token, "operand")),
            }
            break;
        }
        if args.is_empty() {
            return Err(self.error("empty command"));
        }
        Ok(self.node(pos, Syntax::Command { args }))
    }

    fn operand(&mut self) -> Parsed<Option<NodeId>> {
        let Some(node) = self.term()? else {
            return Ok(None);
        };
        if self.peek() != TokenKind::Field {
            return Ok(Some(node));
        }
        let pos = self.look(0).start;
        let mut fields = Vec::new();
        while self.peek() == TokenKind::Field {
            let token = self.next();
            fields.push(Box::from(&self.value(&token)[1..]));
        }
        let syntax = match &self.nodes[node.0 as usize].syntax {
            Syntax::Field { path } => Syntax::Field {
                path: path.iter().cloned().chain(fields).collect(),
            },
            Syntax::Variable { path } => Syntax::Variable {
                path: path.iter().cloned().chain(fields).collect(),
            },
            Syntax::Bool(_) | Syntax::String { .. } | Syntax::Number { .. } | Syntax::Nil | Syntax::Dot => {
                let shown = self.show(node);
                return Err(self.error(format!(
                    "unexpected . after term {}",
                    crate::format::quote(shown.as_bytes())
                )));
            }
            _ => Syntax::Chain {
                base: node,
                path: fields,
            },
        };
        Ok(Some(self.node(pos, syntax)))
    }

    fn show(&self, node: NodeId) -> String {
        match &self.nodes[node.0 as usize].syntax {
            Syntax::Bool(value) => value.to_string(),
            Syntax::String { quoted, .. } => quoted.to_string(),
            Syntax::Number { text, .. } => text.to_string(),
            Syntax::Nil => "nil".to_owned(),
            _ => ".".to_owned(),
        }
    }

    fn term(&mut self) -> Parsed<Option<NodeId>> {
        let token = self.next_past_space();
        let text = self.value(&token);
        let syntax = match token.kind {
            TokenKind::Identifier => {
                if !(self.known)(text) {
                    let name = crate::format::quote(text.as_bytes());
                    return Err(self.error(format!("function {name} not defined")));
                }
                Syntax::Identifier(text.into())
            }
            TokenKind::Dot => Syntax::Dot,
            TokenKind::Nil => Syntax::Nil,
            TokenKind::Variable => {
                if !self.scope.variables.iter().any(|known| known == text) {
                    let name = crate::format::quote(text.as_bytes());
                    return Err(self.error(format!("undefined variable {name}")));
                }
                Syntax::Variable {
                    path: vec![text.into()],
                }
            }
            TokenKind::Field => Syntax::Field {
                path: vec![text[1..].into()],
            },
            TokenKind::Bool => Syntax::Bool(text == "true"),
            TokenKind::Number | TokenKind::Complex | TokenKind::CharConstant => {
                let number = self.number(&token)?;
                Syntax::Number {
                    number,
                    text: text.into(),
                }
            }
            TokenKind::LeftParen => {
                let parse =
                    |parser: &mut Self| parser.pipeline("parenthesized pipeline", TokenKind::RightParen);
                return self.deeper(parse).map(Some);
            }
            TokenKind::String | TokenKind::RawString => {
                let value = self.unquoted(&token)?.into();
                Syntax::String {
                    value,
                    quoted: text.into(),
                }
            }
            _ => {
                self.back(token);
                return Ok(None);
            }
        };
        Ok(Some(self.node(token.start, syntax)))
    }

    fn number(&self, token: &Token) -> Parsed<Number> {
        let text = self.value(token);
        let number = match token.kind {
            TokenKind::CharConstant => unquote_char(text).map(number::character),
            TokenKind::Complex => number::parse_complex(text),
            _ => number::parse(text),
        };
        number.map_err(|message| self.error(message))
    }
}
