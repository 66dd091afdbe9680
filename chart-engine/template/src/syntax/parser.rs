//! Tokens to trees.

use std::sync::Arc;

use super::lexer::{Lexer, Token, TokenKind};
use super::number;
use super::tree::{Branch, Branches, List, Literal, Node, NodeId, Number, Source, Span, Syntax};
use super::unquote::{is_literal, unquote, unquote_char};

/// A named template of a text: a `define`, a `block`, or the text itself.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) name: Arc<str>,
    pub(crate) body: List,
}

/// A text that was read as what a file holds.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The file, or `gotpl` for text given to `tpl`.
    pub(crate) file: Arc<str>,
    pub(crate) source: Arc<Source>,
    /// The text itself, under the name of the file, and what it defines.
    pub(crate) definitions: Vec<Definition>,
    /// Whether it has a definition of its own that is called after the file.
    defines_file: bool,
}

impl Tree {
    /// What the same text is as another file. `None` where that is not told by the name alone.
    pub(crate) fn as_file(&self, name: &str) -> Option<Tree> {
        if self.defines_file || self.definitions.iter().any(|known| &*known.name == name) {
            return None;
        }
        let file: Arc<str> = name.into();
        let mut definitions = self.definitions.clone();
        let own = definitions.iter_mut().find(|known| known.name == self.file)?;
        own.name = Arc::clone(&file);
        Some(Tree {
            file,
            source: Arc::clone(&self.source),
            definitions,
            defines_file: false,
        })
    }
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) line: u32,
    /// The byte where reading stopped.
    pub(crate) pos: usize,
    pub(crate) message: String,
}

/// Tables that grow while a text is read, kept for the next one: each text gets copies without room to spare.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    nodes: Vec<Node>,
    lists: Vec<NodeId>,
    branches: Vec<Branch>,
    open: Vec<NodeId>,
}

/// Reads a text.
///
/// `known` gives the number of each function that there is; `depth_max` bounds how deep blocks and parentheses may nest.
pub(crate) fn parse(
    name: &str,
    text: &Arc<str>,
    depth_max: usize,
    known: &dyn Fn(&str) -> Option<u32>,
    tables: &mut Tables,
) -> Result<Tree, SyntaxError> {
    if u32::try_from(text.len()).is_err() {
        return Err(SyntaxError {
            line: 1,
            pos: 0,
            message: "template is larger than 4 GiB".to_owned(),
        });
    }
    let mut parser = Parser {
        lexer: Lexer::new(text),
        waiting: Waiting::default(),
        line: 1,
        pos: 0,
        name,
        source: Source {
            text: Arc::clone(text),
            nodes: emptied(&mut tables.nodes),
            lists: emptied(&mut tables.lists),
            branches: emptied(&mut tables.branches),
            numbers: Vec::new(),
            strings: Vec::new(),
        },
        text,
        open: emptied(&mut tables.open),
        open_branches: Vec::new(),
        definitions: Vec::new(),
        scope: Scope::default(),
        action_line: None,
        depth: 0,
        depth_max,
        known,
    };
    let body = parser.whole()?;
    let defines_file = parser.definitions.iter().any(|known| &*known.name == name);
    parser.define(name, body)?;
    let Parser {
        mut source,
        definitions,
        open,
        ..
    } = parser;
    tables.open = open;
    tables.nodes = fitted(&mut source.nodes);
    tables.lists = fitted(&mut source.lists);
    tables.branches = fitted(&mut source.branches);
    Ok(Tree {
        file: name.into(),
        source: Arc::new(source),
        definitions,
        defines_file,
    })
}

fn emptied<T>(table: &mut Vec<T>) -> Vec<T> {
    table.clear();
    std::mem::take(table)
}

/// Puts a copy without room to spare in the place of a table, and gives the table.
fn fitted<T: Clone>(table: &mut Vec<T>) -> Vec<T> {
    let copy = table.clone();
    std::mem::replace(table, copy)
}

/// What is visible at a place of a template.
#[derive(Default)]
struct Scope<'t> {
    variables: Vec<&'t str>,
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

/// How many tokens the grammar reads ahead, the one put back with them.
const AHEAD_MAX: usize = 2;

/// Tokens read ahead.
#[derive(Default)]
struct Waiting {
    tokens: [Token; AHEAD_MAX],
    /// Where the first of them is; the others follow, round the end.
    first: usize,
    count: usize,
}

impl Waiting {
    fn get(&self, at: usize) -> Option<Token> {
        (at < self.count).then(|| self.tokens[(self.first + at) % AHEAD_MAX])
    }

    fn push(&mut self, token: Token) {
        debug_assert!(self.count < AHEAD_MAX, "the grammar looks no further");
        self.tokens[(self.first + self.count) % AHEAD_MAX] = token;
        self.count += 1;
    }

    fn pop(&mut self) -> Option<Token> {
        self.count = self.count.checked_sub(1)?;
        let token = self.tokens[self.first];
        self.first = (self.first + 1) % AHEAD_MAX;
        Some(token)
    }

    fn put_back(&mut self, token: Token) {
        debug_assert!(self.count < AHEAD_MAX, "what is put back was taken");
        self.first = (self.first + AHEAD_MAX - 1) % AHEAD_MAX;
        self.tokens[self.first] = token;
        self.count = (self.count + 1).min(AHEAD_MAX);
    }
}

struct Parser<'t> {
    text: &'t str,
    lexer: Lexer<'t>,
    waiting: Waiting,
    /// Where the last token taken stands.
    line: u32,
    pos: usize,
    /// The file, or `gotpl` for text given to `tpl`.
    name: &'t str,
    source: Source,
    /// The lists that are being read, one after the other.
    open: Vec<NodeId>,
    open_branches: Vec<Branch>,
    definitions: Vec<Definition>,
    scope: Scope<'t>,
    action_line: Option<u32>,
    depth: usize,
    depth_max: usize,
    known: &'t dyn Fn(&str) -> Option<u32>,
}

impl<'t> Parser<'t> {
    // Tokens.

    fn look(&mut self, ahead: usize) -> Token {
        loop {
            if let Some(token) = self.waiting.get(ahead) {
                return token;
            }
            let token = self.lexer.next_token();
            self.waiting.push(token);
        }
    }

    fn peek(&mut self) -> TokenKind {
        self.look(0).kind
    }

    fn next(&mut self) -> Token {
        let token = self.waiting.pop().unwrap_or_else(|| self.lexer.next_token());
        self.line = token.line;
        self.pos = token.start as usize;
        token
    }

    fn back(&mut self, token: Token) {
        self.waiting.put_back(token);
    }

    fn expect(&mut self, kind: TokenKind, context: &str) -> Parsed<Token> {
        let token = self.next();
        if token.kind == kind {
            Ok(token)
        } else {
            Err(self.unexpected(&token, context))
        }
    }

    fn value(&self, token: &Token) -> &'t str {
        token.value(self.text)
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
        if token.kind != TokenKind::Error {
            return self.error(format!("unexpected {} in {context}", token.describe(self.text)));
        }
        let message = &self.lexer.message;
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

    fn node(&mut self, pos: u32, syntax: Syntax) -> NodeId {
        let id = NodeId(index(self.source.nodes.len()));
        self.source.nodes.push(Node { pos, syntax });
        id
    }

    /// Closes the list that was opened when so many nodes were open.
    fn close(&mut self, from: usize) -> List {
        let list = List {
            start: index(self.source.lists.len()),
            len: index(self.open.len() - from),
        };
        self.source.lists.extend(self.open.drain(from..));
        list
    }

    fn string(&mut self, text: &str) -> u32 {
        self.source.strings.push(text.into());
        index(self.source.strings.len() - 1)
    }

    fn define(&mut self, name: &str, body: List) -> Parsed<()> {
        let Some(at) = self.definitions.iter().position(|known| &*known.name == name) else {
            self.definitions.push(Definition {
                name: name.into(),
                body,
            });
            return Ok(());
        };
        if self.source.is_blank(self.definitions[at].body) {
            self.definitions[at].body = body;
        } else if !self.source.is_blank(body) {
            let name = crate::format::quote(name.as_bytes());
            return Err(self.error(format!("template: multiple definition of template {name}")));
        }
        Ok(())
    }

    // Statements.

    fn whole(&mut self) -> Parsed<List> {
        self.scope.variables.push("$");
        while self.peek() != TokenKind::End {
            if self.peek() == TokenKind::LeftDelim {
                let delim = self.next();
                if self.peek() == TokenKind::Define {
                    self.next();
                    self.definition()?;
                    continue;
                }
                self.back(delim);
            }
            match self.text_or_action()? {
                Item::Node(node) => self.open.push(node),
                Item::Ending(Ending::End) => return Err(self.error("unexpected {{end}}")),
                Item::Ending(Ending::Else) => return Err(self.error("unexpected {{else}}")),
            }
        }
        Ok(self.close(0))
    }

    fn definition(&mut self) -> Parsed<()> {
        let token = self.next();
        let name = match token.kind {
            TokenKind::String | TokenKind::RawString => self.unquoted(&token)?,
            _ => return Err(self.unexpected(&token, "define clause")),
        };
        self.expect(TokenKind::RightDelim, "define clause")?;
        let body = self.named_body("define clause")?;
        self.define(&name, body)
    }

    /// The body of a `define` or a `block`: it sees no variable from outside.
    fn named_body(&mut self, context: &str) -> Parsed<List> {
        let inner = Scope {
            variables: vec!["$"],
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

    fn list(&mut self) -> Parsed<(List, Ending)> {
        let from = self.open.len();
        while self.peek() != TokenKind::End {
            match self.text_or_action()? {
                Item::Node(node) => self.open.push(node),
                Item::Ending(ending) => return Ok((self.close(from), ending)),
            }
        }
        self.line = self.look(0).line;
        self.pos = self.text.len();
        Err(self.error("unexpected EOF"))
    }

    fn text_or_action(&mut self) -> Parsed<Item> {
        let token = self.next();
        match token.kind {
            TokenKind::Text => {
                let text = Syntax::Text { end: token.end };
                Ok(Item::Node(self.node(token.start, text)))
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
        let token = self.next();
        let node = match token.kind {
            TokenKind::Block => self.block()?,
            TokenKind::Break => self.jump(&token, "{{break}}", Syntax::Break)?,
            TokenKind::Continue => self.jump(&token, "{{continue}}", Syntax::Continue)?,
            TokenKind::Else => {
                // `else if` and `else with` are read on by the block that they continue.
                if !matches!(self.peek(), TokenKind::If | TokenKind::With) {
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
        let next = self.next();
        if next.kind != TokenKind::RightDelim {
            return Err(self.unexpected(&next, word));
        }
        if self.scope.ranges == 0 {
            return Err(self.error(format!("{word} outside {{{{range}}}}")));
        }
        Ok(self.node(token.start, syntax))
    }

    fn control(&mut self, pos: u32, context: &str) -> Parsed<NodeId> {
        let visible = self.scope.variables.len();
        let from = self.open_branches.len();
        // A chain of `else if` is read in a loop, as it may be longer than blocks may be deep.
        let otherwise = loop {
            let pipe = self.pipeline(context, TokenKind::RightDelim)?;
            let looping = usize::from(context == "range");
            self.scope.ranges += looping;
            let (then, ending) = self.list()?;
            self.scope.ranges -= looping;
            self.open_branches.push(Branch { pipe, then });
            if matches!(ending, Ending::End) {
                break List::default();
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
        let syntax = match (context, self.open_branches.get(from).copied()) {
            ("range", Some(Branch { pipe, then: body })) => {
                self.open_branches.truncate(from);
                Syntax::Range {
                    pipe,
                    body,
                    otherwise,
                }
            }
            _ => {
                let branches = Branches {
                    start: index(self.source.branches.len()),
                    len: index(self.open_branches.len() - from),
                };
                self.source.branches.extend(self.open_branches.drain(from..));
                if context == "with" {
                    Syntax::With { branches, otherwise }
                } else {
                    Syntax::If { branches, otherwise }
                }
            }
        };
        Ok(self.node(pos, syntax))
    }

    fn template_name(&self, token: &Token, context: &str) -> Parsed<String> {
        match token.kind {
            TokenKind::String | TokenKind::RawString => self.unquoted(token),
            _ => Err(self.unexpected(token, context)),
        }
    }

    fn template(&mut self) -> Parsed<NodeId> {
        let token = self.next();
        let name = self.template_name(&token, "template clause")?;
        let pipe = if self.peek() == TokenKind::RightDelim {
            self.next();
            None
        } else {
            Some(self.pipeline("template clause", TokenKind::RightDelim)?)
        };
        let name = self.string(&name);
        Ok(self.node(token.start, Syntax::Template { name, pipe }))
    }

    fn block(&mut self) -> Parsed<NodeId> {
        let token = self.next();
        let name = self.template_name(&token, "block clause")?;
        let pipe = self.pipeline("block clause", TokenKind::RightDelim)?;
        let body = self.named_body("block clause")?;
        self.define(&name, body)?;
        let name = self.string(&name);
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
        let pos = self.look(0).start;
        let (declared, assign) = self.declarations(context)?;
        let from = self.open.len();
        loop {
            let token = self.next();
            if token.kind == end {
                break;
            }
            if !begins_operand(token.kind) {
                return Err(self.unexpected(&token, context));
            }
            self.back(token);
            let command = self.command()?;
            self.open.push(command);
        }
        let commands = self.close(from);
        if commands.is_empty() {
            return Err(self.error(format!("missing value for {context}")));
        }
        for (i, command) in self.source.list(commands).iter().enumerate().skip(1) {
            let Syntax::Command { args } = self.source.syntax(*command) else {
                continue;
            };
            let first = self.source.list(args).first().map(|id| self.source.syntax(*id));
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

    fn declarations(&mut self, context: &str) -> Parsed<(List, bool)> {
        let from = self.open.len();
        let mut assigns = false;
        while self.peek() == TokenKind::Variable {
            // `$x := ...` declares, `$x ...` uses: the token after it tells.
            let next = self.look(1);
            let comma = next.kind == TokenKind::Char && self.value(&next) == ",";
            let assign = next.kind == TokenKind::Assign;
            if !comma && !assign && next.kind != TokenKind::Declare {
                break;
            }
            let variable = self.next();
            self.next();
            let Token { start, end, .. } = variable;
            let path = Span { start, end };
            let declared = self.node(start, Syntax::Variable { path });
            self.open.push(declared);
            self.scope.variables.push(self.value(&variable));
            if !comma {
                assigns = assign;
                break;
            }
            if context != "range" || self.open.len() - from >= 2 {
                return Err(self.error(format!("too many declarations in {context}")));
            }
            use TokenKind as K;
            if !matches!(self.peek(), K::Variable | K::RightDelim | K::RightParen) {
                return Err(self.error("range can only initialize variables"));
            }
        }
        Ok((self.close(from), assigns))
    }

    fn command(&mut self) -> Parsed<NodeId> {
        let pos = self.look(0).start;
        let from = self.open.len();
        loop {
            if let Some(operand) = self.operand()? {
                self.open.push(operand);
            }
            let token = self.next();
            match token.kind {
                kind if token.spaced && begins_operand(kind) => {
                    self.back(token);
                    continue;
                }
                TokenKind::RightDelim | TokenKind::RightParen => self.back(token),
                TokenKind::Pipe => {}
                _ => return Err(self.unexpected(&token, "operand")),
            }
            break;
        }
        let args = self.close(from);
        if args.is_empty() {
            return Err(self.error("empty command"));
        }
        Ok(self.node(pos, Syntax::Command { args }))
    }

    fn operand(&mut self) -> Parsed<Option<NodeId>> {
        let Some(node) = self.term()? else {
            return Ok(None);
        };
        if !self.is_field_next() {
            return Ok(Some(node));
        }
        let Token { start: pos, .. } = self.look(0);
        let mut end = pos;
        // Without a space between, the fields are one part of the text.
        while self.is_field_next() {
            end = self.next().end;
        }
        let syntax = match self.source.syntax(node) {
            Syntax::Field {
                path: Span { start, .. },
            } => Syntax::Field {
                path: Span { start, end },
            },
            Syntax::Variable {
                path: Span { start, .. },
            } => Syntax::Variable {
                path: Span { start, end },
            },
            Syntax::Bool(_) | Syntax::String { .. } | Syntax::Number { .. } | Syntax::Nil | Syntax::Dot => {
                let shown = self.source.show(node).to_string();
                return Err(self.error(format!(
                    "unexpected . after term {}",
                    crate::format::quote(shown.as_bytes())
                )));
            }
            _ => Syntax::Chain {
                base: node,
                path: Span { start: pos, end },
            },
        };
        Ok(Some(self.node(pos, syntax)))
    }

    /// Whether a field comes next, without a space between.
    fn is_field_next(&mut self) -> bool {
        let next = self.look(0);
        next.kind == TokenKind::Field && !next.spaced
    }

    fn term(&mut self) -> Parsed<Option<NodeId>> {
        let token = self.next();
        let text = self.value(&token);
        let Token { start, end, .. } = token;
        let path = Span { start, end };
        let syntax = match token.kind {
            TokenKind::Identifier => {
                let Some(function) = (self.known)(text) else {
                    let name = crate::format::quote(text.as_bytes());
                    return Err(self.error(format!("function {name} not defined")));
                };
                Syntax::Identifier { function, end }
            }
            TokenKind::Dot => Syntax::Dot,
            TokenKind::Nil => Syntax::Nil,
            TokenKind::Variable => {
                if !self.scope.variables.contains(&text) {
                    let name = crate::format::quote(text.as_bytes());
                    return Err(self.error(format!("undefined variable {name}")));
                }
                Syntax::Variable { path }
            }
            TokenKind::Field => Syntax::Field { path },
            TokenKind::Bool => Syntax::Bool(text == "true"),
            TokenKind::Number | TokenKind::Complex | TokenKind::CharConstant => {
                let number = self.number(&token)?;
                self.source.numbers.push(number);
                Syntax::Number {
                    number: index(self.source.numbers.len() - 1),
                    end,
                }
            }
            TokenKind::LeftParen => {
                let parse =
                    |parser: &mut Self| parser.pipeline("parenthesized pipeline", TokenKind::RightParen);
                return self.deeper(parse).map(Some);
            }
            TokenKind::String | TokenKind::RawString => {
                let value = if is_literal(text) {
                    Literal::Quoted
                } else {
                    let value = self.unquoted(&token)?;
                    Literal::Other(self.string(&value))
                };
                Syntax::String { value, end }
            }
            _ => {
                self.back(token);
                return Ok(None);
            }
        };
        Ok(Some(self.node(start, syntax)))
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

fn begins_operand(kind: TokenKind) -> bool {
    use TokenKind as K;
    matches!(
        kind,
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
            | K::LeftParen
    )
}

fn index(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
