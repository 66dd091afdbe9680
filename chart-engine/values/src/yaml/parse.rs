//! From tokens to events, for readers that need more than values: places and tags.

use std::borrow::Cow;

use super::scan::{Mark, ScanError, Scanner, Token};

/// What happens in a document, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'t> {
    /// A document begins.
    DocumentStart,
    /// A document is over.
    DocumentEnd,
    /// The text is over.
    StreamEnd,
    /// `*name`.
    Alias(&'t str),
    /// A scalar.
    Scalar {
        /// Its `&name`.
        anchor: Option<&'t str>,
        /// Its tag, written out; a tag of `!` only makes it a text.
        tag: Option<Cow<'t, str>>,
        /// Its text, unescaped.
        text: Cow<'t, str>,
        /// Whether it has neither quotes nor a tag of `!`.
        plain: bool,
    },
    /// A list begins.
    SequenceStart {
        /// Its `&name`.
        anchor: Option<&'t str>,
        /// Its tag, written out.
        tag: Option<Cow<'t, str>>,
    },
    /// A list is over.
    SequenceEnd,
    /// A table begins.
    MappingStart {
        /// Its `&name`.
        anchor: Option<&'t str>,
        /// Its tag, written out.
        tag: Option<Cow<'t, str>>,
    },
    /// A table is over.
    MappingEnd,
}

/// A fault found by the scanner or the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong, in libyaml's words.
    pub problem: &'static str,
    /// Where.
    pub mark: Mark,
    /// Where the thing started that is wrong.
    pub context: Mark,
    /// go-yaml counts the lines of the scanner's faults from one, and of the parser's from nought.
    pub by_scanner: bool,
}

impl From<ScanError> for ParseError {
    fn from(error: ScanError) -> Self {
        ParseError {
            problem: error.problem,
            mark: error.mark,
            context: error.mark,
            by_scanner: true,
        }
    }
}

/// What is expected next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    DocumentStart { first: bool },
    DocumentContent,
    DocumentEnd,
    BlockNode,
    BlockSequenceEntry,
    IndentlessSequenceEntry,
    BlockMappingKey,
    BlockMappingValue,
    FlowSequenceEntry { first: bool },
    FlowSequencePairKey,
    FlowSequencePairValue,
    FlowSequencePairEnd,
    FlowMappingKey { first: bool },
    FlowMappingValue { empty: bool },
    End,
}

/// Reads events out of a text.
#[derive(Debug)]
pub struct Parser<'t> {
    scanner: Scanner<'t>,
    state: State,
    /// Where to go on after the nodes that are open.
    states: Vec<State>,
    /// Where the collections that are open start.
    marks: Vec<Mark>,
    tag_handles: Vec<(&'t str, Cow<'t, str>)>,
}

/// An event and where it is.
type Parsed<'t> = Result<(Event<'t>, Mark), ParseError>;

impl<'t> Parser<'t> {
    /// Starts at the beginning of a text.
    pub fn new(text: &'t str) -> Self {
        Parser {
            scanner: Scanner::new(text),
            state: State::DocumentStart { first: true },
            states: Vec::new(),
            marks: Vec::new(),
            tag_handles: Vec::new(),
        }
    }

    /// The next event and where it is; after the end, [`Event::StreamEnd`] again.
    ///
    /// # Errors
    ///
    /// What breaks the grammar. What comes after that means nothing.
    #[expect(clippy::should_implement_trait, reason = "it never ends and may fail")]
    pub fn next(&mut self) -> Parsed<'t> {
        match self.state {
            State::DocumentStart { first } => self.document_start(first),
            State::DocumentContent => self.document_content(),
            State::DocumentEnd => self.document_end(),
            State::BlockNode => self.node(true, false),
            State::BlockSequenceEntry => self.block_sequence_entry(),
            State::IndentlessSequenceEntry => self.indentless_sequence_entry(),
            State::BlockMappingKey => self.block_mapping_key(),
            State::BlockMappingValue => self.block_mapping_value(),
            State::FlowSequenceEntry { first } => self.flow_sequence_entry(first),
            State::FlowSequencePairKey => self.flow_sequence_pair_key(),
            State::FlowSequencePairValue => self.flow_sequence_pair_value(),
            State::FlowSequencePairEnd => {
                self.state = State::FlowSequenceEntry { first: false };
                let (_, mark) = self.scanner.peek()?;
                Ok((Event::MappingEnd, mark))
            }
            State::FlowMappingKey { first } => self.flow_mapping_key(first),
            State::FlowMappingValue { empty } => self.flow_mapping_value(empty),
            State::End => Ok((Event::StreamEnd, Mark::default())),
        }
    }

    fn fail<T>(problem: &'static str, mark: Mark, context: Mark) -> Result<T, ParseError> {
        Err(ParseError {
            problem,
            mark,
            context,
            by_scanner: false,
        })
    }

    fn pop_state(&mut self) {
        self.state = self.states.pop().unwrap_or(State::End);
    }

    fn document_start(&mut self, first: bool) -> Parsed<'t> {
        if !first {
            while matches!(self.scanner.peek()?.0, Token::DocumentEnd) {
                self.scanner.next()?;
            }
        }
        let (token, mark) = self.scanner.peek()?;
        match token {
            Token::VersionDirective(..) | Token::TagDirective { .. } | Token::DocumentStart => {}
            Token::StreamEnd => {
                self.state = State::End;
                return Ok((Event::StreamEnd, mark));
            }
            // Only the first document may do without its `---`.
            _ if first => {
                self.set_default_handles();
                self.states.push(State::DocumentEnd);
                self.state = State::BlockNode;
                return Ok((Event::DocumentStart, mark));
            }
            _ => {}
        }
        self.directives()?;
        let (token, at) = self.scanner.next()?;
        if token != Token::DocumentStart {
            return Self::fail("did not find expected <document start>", at, Mark::default());
        }
        self.states.push(State::DocumentEnd);
        self.state = State::DocumentContent;
        Ok((Event::DocumentStart, mark))
    }

    fn directives(&mut self) -> Result<(), ParseError> {
        self.tag_handles.clear();
        let mut version_given = false;
        loop {
            match self.scanner.peek()? {
                (Token::VersionDirective(major, minor), mark) => {
                    if version_given {
                        return Self::fail("found duplicate %YAML directive", mark, Mark::default());
                    }
                    if (*major, *minor) != (1, 1) {
                        return Self::fail("found incompatible YAML document", mark, Mark::default());
                    }
                    version_given = true;
                }
                (Token::TagDirective { .. }, mark) => {
                    if let (Token::TagDirective { handle, prefix }, _) = self.scanner.next()? {
                        if self.tag_handles.iter().any(|(known, _)| *known == handle) {
                            return Self::fail("found duplicate %TAG directive", mark, Mark::default());
                        }
                        self.tag_handles.push((handle, prefix));
                    }
                    continue;
                }
                _ => break,
            }
            self.scanner.next()?;
        }
        self.set_default_handles();
        Ok(())
    }

    fn set_default_handles(&mut self) {
        for (handle, prefix) in [("!", "!"), ("!!", "tag:yaml.org,2002:")] {
            if !self.tag_handles.iter().any(|(known, _)| *known == handle) {
                self.tag_handles.push((handle, Cow::Borrowed(prefix)));
            }
        }
    }

    fn document_content(&mut self) -> Parsed<'t> {
        let (token, mark) = self.scanner.peek()?;
        match token {
            Token::VersionDirective(..)
            | Token::TagDirective { .. }
            | Token::DocumentStart
            | Token::DocumentEnd
            | Token::StreamEnd => {
                self.pop_state();
                Ok(empty_scalar(mark))
            }
            _ => self.node(true, false),
        }
    }

    fn document_end(&mut self) -> Parsed<'t> {
        let (token, mark) = self.scanner.peek()?;
        if *token == Token::DocumentEnd {
            self.scanner.next()?;
        }
        self.state = State::DocumentStart { first: false };
        Ok((Event::DocumentEnd, mark))
    }

    /// A node: an alias, or a scalar or collection behind its anchor and tag.
    fn node(&mut self, block: bool, indentless: bool) -> Parsed<'t> {
        let (_, start) = self.scanner.peek()?;
        if let (Token::Alias(_), _) = self.scanner.peek()?
            && let (Token::Alias(name), mark) = self.scanner.next()?
        {
            self.pop_state();
            return Ok((Event::Alias(name), mark));
        }
        let (anchor, tag) = self.properties(start)?;
        if indentless && *self.scanner.peek()?.0 == Token::BlockEntry {
            self.state = State::IndentlessSequenceEntry;
            return Ok((Event::SequenceStart { anchor, tag }, start));
        }
        match self.scanner.peek()?.0 {
            Token::Scalar { .. } => {
                let (token, _) = self.scanner.next()?;
                self.pop_state();
                let (text, plain) = match token {
                    Token::Scalar { text, plain } => (text, plain),
                    _ => (Cow::Borrowed(""), true),
                };
                // A tag of `!` says that the scalar is a text.
                let plain = plain && tag.as_deref() != Some("!");
                Ok((
                    Event::Scalar {
                        anchor,
                        tag: tag.filter(|tag| tag != "!"),
                        text,
                        plain,
                    },
                    start,
                ))
            }
            Token::FlowSequenceStart => {
                self.open(State::FlowSequenceEntry { first: true })?;
                Ok((Event::SequenceStart { anchor, tag }, start))
            }
            Token::FlowMappingStart => {
                self.open(State::FlowMappingKey { first: true })?;
                Ok((Event::MappingStart { anchor, tag }, start))
            }
            Token::BlockSequenceStart if block => {
                self.open(State::BlockSequenceEntry)?;
                Ok((Event::SequenceStart { anchor, tag }, start))
            }
            Token::BlockMappingStart if block => {
                self.open(State::BlockMappingKey)?;
                Ok((Event::MappingStart { anchor, tag }, start))
            }
            _ if anchor.is_some() || tag.is_some() => {
                self.pop_state();
                let plain = tag.is_none();
                Ok((
                    Event::Scalar {
                        anchor,
                        tag,
                        text: Cow::Borrowed(""),
                        plain,
                    },
                    start,
                ))
            }
            _ => {
                let (_, mark) = self.scanner.peek()?;
                Self::fail("did not find expected node content", mark, start)
            }
        }
    }

    fn open(&mut self, state: State) -> Result<(), ParseError> {
        let (_, mark) = self.scanner.next()?;
        self.marks.push(mark);
        self.state = state;
        Ok(())
    }

    fn properties(&mut self, start: Mark) -> Result<(Option<&'t str>, Option<Cow<'t, str>>), ParseError> {
        let mut anchor = None;
        let mut tag = None;
        // What comes after is looked at before the tag's handle, so faults there come first.
        loop {
            match self.scanner.peek()? {
                (Token::Anchor(_), _) if anchor.is_none() => {
                    if let (Token::Anchor(name), _) = self.scanner.next()? {
                        anchor = Some(name);
                    }
                }
                (Token::Tag { .. }, mark) if tag.is_none() => {
                    if let (Token::Tag { handle, suffix }, _) = self.scanner.next()? {
                        tag = Some((handle, suffix, mark));
                    }
                }
                _ => break,
            }
        }
        match tag {
            None => Ok((anchor, None)),
            Some((handle, suffix, mark)) => Ok((anchor, Some(self.full_tag(handle, suffix, mark, start)?))),
        }
    }

    fn full_tag(
        &self,
        handle: &'t str,
        suffix: Cow<'t, str>,
        mark: Mark,
        start: Mark,
    ) -> Result<Cow<'t, str>, ParseError> {
        if handle.is_empty() {
            return Ok(suffix);
        }
        match self.tag_handles.iter().find(|(known, _)| *known == handle) {
            Some((_, prefix)) => Ok(Cow::Owned(format!("{prefix}{suffix}"))),
            None => Self::fail("found undefined tag handle", mark, start),
        }
    }

    fn close(&mut self, event: Event<'t>) -> Parsed<'t> {
        let (_, mark) = self.scanner.next()?;
        self.marks.pop();
        self.pop_state();
        Ok((event, mark))
    }

    fn context(&self) -> Mark {
        self.marks.last().copied().unwrap_or_default()
    }

    fn block_sequence_entry(&mut self) -> Parsed<'t> {
        let (token, mark) = self.scanner.peek()?;
        match token {
            Token::BlockEntry => {
                self.scanner.next()?;
                match self.scanner.peek()? {
                    (Token::BlockEntry | Token::BlockEnd, after) => {
                        self.state = State::BlockSequenceEntry;
                        Ok(empty_scalar(after))
                    }
                    _ => {
                        self.states.push(State::BlockSequenceEntry);
                        self.node(true, false)
                    }
                }
            }
            Token::BlockEnd => self.close(Event::SequenceEnd),
            _ => Self::fail("did not find expected '-' indicator", mark, self.context()),
        }
    }

    fn indentless_sequence_entry(&mut self) -> Parsed<'t> {
        let (token, mark) = self.scanner.peek()?;
        if *token != Token::BlockEntry {
            self.pop_state();
            return Ok((Event::SequenceEnd, mark));
        }
        self.scanner.next()?;
        match self.scanner.peek()? {
            (Token::BlockEntry | Token::Key | Token::Value | Token::BlockEnd, after) => {
                self.state = State::IndentlessSequenceEntry;
                Ok(empty_scalar(after))
            }
            _ => {
                self.states.push(State::IndentlessSequenceEntry);
                self.node(true, false)
            }
        }
    }

    fn block_mapping_key(&mut self) -> Parsed<'t> {
        let (token, mark) = self.scanner.peek()?;
        match token {
            Token::Key => {
                self.scanner.next()?;
                match self.scanner.peek()? {
                    (Token::Key | Token::Value | Token::BlockEnd, after) => {
                        self.state = State::BlockMappingValue;
                        Ok(empty_scalar(after))
                    }
                    _ => {
                        self.states.push(State::BlockMappingValue);
                        self.node(true, true)
                    }
                }
            }
            Token::BlockEnd => self.close(Event::MappingEnd),
            _ => Self::fail("did not find expected key", mark, self.context()),
        }
    }

    fn block_mapping_value(&mut self) -> Parsed<'t> {
        let (token, mark) = self.scanner.peek()?;
        if *token != Token::Value {
            self.state = State::BlockMappingKey;
            return Ok(empty_scalar(mark));
        }
        self.scanner.next()?;
        match self.scanner.peek()? {
            (Token::Key | Token::Value | Token::BlockEnd, after) => {
                self.state = State::BlockMappingKey;
                Ok(empty_scalar(after))
            }
            _ => {
                self.states.push(State::BlockMappingKey);
                self.node(true, true)
            }
        }
    }

    fn flow_sequence_entry(&mut self, first: bool) -> Parsed<'t> {
        if *self.scanner.peek()?.0 == Token::FlowSequenceEnd {
            return self.close(Event::SequenceEnd);
        }
        if !first {
            let (token, mark) = self.scanner.peek()?;
            if *token != Token::FlowEntry {
                return Self::fail("did not find expected ',' or ']'", mark, self.context());
            }
            self.scanner.next()?;
        }
        match self.scanner.peek()? {
            (Token::Key, mark) => {
                // A single pair stands for a table with just that.
                self.scanner.next()?;
                self.state = State::FlowSequencePairKey;
                Ok((
                    Event::MappingStart {
                        anchor: None,
                        tag: None,
                    },
                    mark,
                ))
            }
            (Token::FlowSequenceEnd, _) => self.close(Event::SequenceEnd),
            _ => {
                self.states.push(State::FlowSequenceEntry { first: false });
                self.node(false, false)
            }
        }
    }

    fn flow_sequence_pair_key(&mut self) -> Parsed<'t> {
        match self.scanner.peek()? {
            (Token::Value | Token::FlowEntry | Token::FlowSequenceEnd, mark) => {
                self.state = State::FlowSequencePairValue;
                Ok(empty_scalar(mark))
            }
            _ => {
                self.states.push(State::FlowSequencePairValue);
                self.node(false, false)
            }
        }
    }

    fn flow_sequence_pair_value(&mut self) -> Parsed<'t> {
        if *self.scanner.peek()?.0 == Token::Value {
            self.scanner.next()?;
            if !matches!(self.scanner.peek()?.0, Token::FlowEntry | Token::FlowSequenceEnd) {
                self.states.push(State::FlowSequencePairEnd);
                return self.node(false, false);
            }
        }
        let (_, mark) = self.scanner.peek()?;
        self.state = State::FlowSequencePairEnd;
        Ok(empty_scalar(mark))
    }

    fn flow_mapping_key(&mut self, first: bool) -> Parsed<'t> {
        if *self.scanner.peek()?.0 == Token::FlowMappingEnd {
            return self.close(Event::MappingEnd);
        }
        if !first {
            let (token, mark) = self.scanner.peek()?;
            if *token != Token::FlowEntry {
                return Self::fail("did not find expected ',' or '}'", mark, self.context());
            }
            self.scanner.next()?;
        }
        match self.scanner.peek()?.0 {
            Token::Key => {
                self.scanner.next()?;
                match self.scanner.peek()? {
                    (Token::Value | Token::FlowEntry | Token::FlowMappingEnd, mark) => {
                        self.state = State::FlowMappingValue { empty: false };
                        Ok(empty_scalar(mark))
                    }
                    _ => {
                        self.states.push(State::FlowMappingValue { empty: false });
                        self.node(false, false)
                    }
                }
            }
            Token::FlowMappingEnd => self.close(Event::MappingEnd),
            _ => {
                self.states.push(State::FlowMappingValue { empty: true });
                self.node(false, false)
            }
        }
    }

    fn flow_mapping_value(&mut self, empty: bool) -> Parsed<'t> {
        if !empty && *self.scanner.peek()?.0 == Token::Value {
            self.scanner.next()?;
            if !matches!(self.scanner.peek()?.0, Token::FlowEntry | Token::FlowMappingEnd) {
                self.states.push(State::FlowMappingKey { first: false });
                return self.node(false, false);
            }
        }
        let (_, mark) = self.scanner.peek()?;
        self.state = State::FlowMappingKey { first: false };
        Ok(empty_scalar(mark))
    }
}

fn empty_scalar<'t>(mark: Mark) -> (Event<'t>, Mark) {
    (
        Event::Scalar {
            anchor: None,
            tag: None,
            text: Cow::Borrowed(""),
            plain: true,
        },
        mark,
    )
}
