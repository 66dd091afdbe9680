//! `printf`: verbs, flags, widths, precisions, argument indexes, and what is written when they do not fit.

use std::borrow::Cow;

use super::float;
use super::print::print_value;
use super::quote::{is_printable, quote, quote_ascii, quote_char};
use crate::value::{Contents, Integer, Kind, Value};

/// The largest width and precision, as in Go.
const WIDTH_MAX: usize = 1_000_000;

/// Formats values; mistakes of the format become part of the text.
///
/// Gives `None` as soon as the text is longer than `bytes_max`.
pub(crate) fn printf(format: &[u8], args: &[Value], bytes_max: usize) -> Option<Vec<u8>> {
    let mut printer = Printer {
        format,
        at: 0,
        args,
        next: 0,
        out: Vec::new(),
        spec: Spec::default(),
        good: true,
        reordered: false,
    };
    printer.run(bytes_max);
    (printer.out.len() <= bytes_max).then_some(printer.out)
}

/// Flags, width and precision of one directive.
#[derive(Clone, Copy, Default)]
struct Spec {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    /// `%+v`.
    plus_v: bool,
    /// `%#v`.
    sharp_v: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

struct Printer<'p> {
    format: &'p [u8],
    at: usize,
    args: &'p [Value],
    next: usize,
    out: Vec<u8>,
    spec: Spec,
    /// Whether the explicit indexes of the directive make sense.
    good: bool,
    reordered: bool,
}

impl Printer<'_> {
    fn run(&mut self, bytes_max: usize) {
        while self.at < self.format.len() {
            if self.out.len() > bytes_max {
                return;
            }
            let rest = &self.format[self.at..];
            let literal = rest.iter().position(|byte| *byte == b'%').unwrap_or(rest.len());
            self.out.extend_from_slice(&rest[..literal]);
            self.at += literal;
            if self.at < self.format.len() {
                self.at += 1;
                self.directive();
            }
        }
        if !self.reordered && self.next < self.args.len() {
            self.spec = Spec::default();
            self.out.extend_from_slice(b"%!(EXTRA ");
            for (i, arg) in self.args[self.next..].iter().enumerate() {
                if i > 0 {
                    self.out.extend_from_slice(b", ");
                }
                match arg.type_name() {
                    None => self.out.extend_from_slice(b"<nil>"),
                    Some(name) => {
                        self.out.extend_from_slice(name.as_bytes());
                        self.out.push(b'=');
                        print_value(&mut self.out, arg);
                    }
                }
            }
            self.out.push(b')');
        }
    }

    fn peek(&self) -> Option<u8> {
        self.format.get(self.at).copied()
    }

    fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn directive(&mut self) {
        self.spec = Spec::default();
        self.good = true;
        self.flags();
        let mut after_index = self.index();
        self.width(&mut after_index);
        self.precision(&mut after_index);
        if !after_index {
            self.index();
        }
        let rest = &self.format[self.at..];
        let Some(verb) = rest
            .utf8_chunks()
            .next()
            .map(|chunk| chunk.valid().chars().next())
        else {
            self.out.extend_from_slice(b"%!(NOVERB)");
            return;
        };
        // A byte that is no text counts as one character.
        let (verb, len) = verb.map_or(('\u{fffd}', 1), |c| (c, c.len_utf8()));
        self.at += len;
        if verb == '%' {
            self.out.push(b'%');
            return;
        }
        if !self.good {
            self.complain(verb, "BADINDEX");
            return;
        }
        let Some(arg) = self.args.get(self.next) else {
            self.complain(verb, "MISSING");
            return;
        };
        self.next += 1;
        if verb == 'v' {
            self.spec.sharp_v = std::mem::take(&mut self.spec.sharp);
            self.spec.plus_v = std::mem::take(&mut self.spec.plus);
        }
        self.argument(arg, verb, 0);
    }

    fn flags(&mut self) {
        loop {
            match self.peek() {
                Some(b'#') => self.spec.sharp = true,
                Some(b'0') => self.spec.zero = true,
                Some(b'+') => self.spec.plus = true,
                Some(b'-') => self.spec.minus = true,
                Some(b' ') => self.spec.space = true,
                _ => return,
            }
            self.at += 1;
        }
    }

    /// An explicit argument index such as `[2]`; tells whether there was one.
    fn index(&mut self) -> bool {
        if self.peek() != Some(b'[') {
            return false;
        }
        self.reordered = true;
        let rest = &self.format[self.at..];
        let Some(close) = rest.iter().position(|byte| *byte == b']') else {
            self.good = false;
            self.at += 1;
            return false;
        };
        let number = std::str::from_utf8(&rest[1..close])
            .ok()
            .and_then(|text| text.parse::<usize>().ok());
        self.at += close + 1;
        match number {
            Some(number) if (1..=self.args.len()).contains(&number) => {
                self.next = number - 1;
                true
            }
            Some(_) => {
                self.good = false;
                true
            }
            None => {
                self.good = false;
                false
            }
        }
    }

    fn number(&mut self) -> Option<usize> {
        let mut number = None;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            let next = number.unwrap_or(0) * 10 + usize::from(digit - b'0');
            if next > WIDTH_MAX {
                return None;
            }
            number = Some(next);
            self.at += 1;
        }
        number
    }

    /// The value of a `*`.
    fn star(&mut self) -> Option<i64> {
        let arg = self.args.get(self.next);
        self.next += usize::from(arg.is_some());
        match arg {
            Some(Value::Int(number, _)) if number.unsigned_abs() <= WIDTH_MAX as u64 => Some(*number),
            _ => None,
        }
    }

    fn width(&mut self, after_index: &mut bool) {
        if self.accept(b'*') {
            match self.star() {
                Some(width) => {
                    self.spec.minus |= width < 0;
                    self.spec.width = usize::try_from(width.unsigned_abs()).ok();
                }
                None => self.out.extend_from_slice(b"%!(BADWIDTH)"),
            }
            *after_index = false;
            return;
        }
        self.spec.width = self.number();
        if *after_index && self.spec.width.is_some() {
            self.good = false;
        }
    }

    fn precision(&mut self, after_index: &mut bool) {
        if !self.accept(b'.') {
            return;
        }
        if *after_index {
            self.good = false;
        }
        *after_index = self.index();
        if self.accept(b'*') {
            self.spec.precision = self.star().and_then(|precision| usize::try_from(precision).ok());
            if self.spec.precision.is_none() {
                self.out.extend_from_slice(b"%!(BADPREC)");
            }
            *after_index = false;
            return;
        }
        self.spec.precision = Some(self.number().unwrap_or(0));
    }

    fn complain(&mut self, verb: char, what: &str) {
        self.out.extend_from_slice(format!("%!{verb}({what})").as_bytes());
    }

    fn bad_verb(&mut self, arg: &Value, verb: char) {
        self.out.extend_from_slice(format!("%!{verb}(").as_bytes());
        match arg.type_name() {
            None => self.out.extend_from_slice(b"<nil>"),
            Some(name) => {
                self.out.extend_from_slice(name.as_bytes());
                self.out.push(b'=');
                self.argument(arg, 'v', 0);
            }
        }
        self.out.push(b')');
    }

    fn argument(&mut self, arg: &Value, verb: char, depth: usize) {
        match (arg, verb) {
            (_, 'T') => {
                let name = arg.type_name().unwrap_or(Cow::Borrowed("<nil>")).into_owned();
                self.string(name.as_bytes(), arg, 's');
            }
            (Value::Invalid | Value::Nil, _) if depth > 0 => {
                let text = if self.spec.sharp_v {
                    "interface {}(nil)"
                } else {
                    "<nil>"
                };
                self.out.extend_from_slice(text.as_bytes());
            }
            (Value::Invalid | Value::Nil, 'v') => self.pad(b"<nil>"),
            (Value::Invalid | Value::Nil, _) => self.bad_verb(arg, verb),
            (Value::Bool(value), 't' | 'v') => self.pad(if *value { b"true" } else { b"false" }),
            (Value::Int(number, integer), _) => self.integer(arg, *number, *integer, verb),
            (Value::Float(number), _) => self.float(arg, *number, verb),
            (Value::String(text), _) => self.string(text, arg, verb),
            (Value::Bytes(bytes), 's' | 'x' | 'X' | 'q') => self.string(bytes, arg, verb),
            (Value::Bytes(_) | Value::List(_), 'p') | (Value::Map(_), 'p') => {
                self.out.extend_from_slice(b"0xc000000000");
            }
            (Value::List(_) | Value::Map(_), _) if self.spec.sharp_v && arg.is_nil_reference() => {
                self.type_name(arg);
                self.out.extend_from_slice(b"(nil)");
            }
            (Value::Bytes(_) | Value::List(_), _) => {
                let items = arg.items().unwrap_or_default().into_owned();
                self.items(arg, &items, verb, depth);
            }
            (Value::Map(map), _) => {
                let entries = map.to_vec();
                self.entries(arg, &entries, verb, depth);
            }
            (Value::Object(object), _) => match object.contents() {
                Some(Contents::Items(items)) => self.items(arg, &items, verb, depth),
                Some(Contents::Entries(entries)) => self.entries(arg, &entries, verb, depth),
                None if matches!(object.kind(), Kind::Integer(_))
                    && matches!(verb, 'd' | 'x' | 'X' | 'b' | 'o' | 'c') =>
                {
                    self.argument(&object.export(), verb, depth);
                }
                None if matches!(verb, 'v' | 's' | 'q') => {
                    let text = object.print().into_owned();
                    let verb = if verb == 'q' { 'q' } else { 's' };
                    self.string(text.as_bytes(), arg, verb);
                }
                None => self.bad_verb(arg, verb),
            },
            _ => self.bad_verb(arg, verb),
        }
    }

    fn items(&mut self, arg: &Value, items: &[Value], verb: char, depth: usize) {
        let sharp = self.spec.sharp_v;
        if sharp {
            self.type_name(arg);
        }
        self.out.push(if sharp { b'{' } else { b'[' });
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.out.extend_from_slice(if sharp { b", " } else { b" " });
            }
            self.argument(item, verb, depth + 1);
        }
        self.out.push(if sharp { b'}' } else { b']' });
    }

    fn entries(&mut self, arg: &Value, entries: &[(crate::value::Text, Value)], verb: char, depth: usize) {
        let sharp = self.spec.sharp_v;
        if sharp {
            self.type_name(arg);
            self.out.push(b'{');
        } else {
            self.out.extend_from_slice(b"map[");
        }
        for (i, (key, value)) in entries.iter().enumerate() {
            if i > 0 {
                self.out.extend_from_slice(if sharp { b", " } else { b" " });
            }
            self.string(key, &Value::String(key.clone()), verb);
            self.out.push(b':');
            self.argument(value, verb, depth + 1);
        }
        self.out.push(if sharp { b'}' } else { b']' });
    }

    fn type_name(&mut self, arg: &Value) {
        let name = arg.type_name().unwrap_or_default().into_owned();
        // `%#v` spells bytes out.
        let name = if name == "[]uint8" {
            "[]byte".to_owned()
        } else {
            name
        };
        self.out.extend_from_slice(name.as_bytes());
    }

    fn pad(&mut self, text: &[u8]) {
        let chars = text
            .utf8_chunks()
            .map(|chunk| chunk.valid().chars().count() + chunk.invalid().len())
            .sum();
        let missing = self.spec.width.unwrap_or(0).saturating_sub(chars);
        // Zeros only ever stand on the left.
        let filler = if self.spec.zero && !self.spec.minus {
            b'0'
        } else {
            b' '
        };
        if !self.spec.minus {
            self.out.resize(self.out.len() + missing, filler);
        }
        self.out.extend_from_slice(text);
        if self.spec.minus {
            self.out.resize(self.out.len() + missing, filler);
        }
    }

    fn string(&mut self, text: &[u8], arg: &Value, verb: char) {
        match verb {
            'v' if !self.spec.sharp_v => {
                let text = self.truncated(text);
                self.pad(text);
            }
            's' => {
                let text = self.truncated(text);
                self.pad(text);
            }
            'v' | 'q' => {
                let text = self.truncated(text);
                let raw = self.spec.sharp && std::str::from_utf8(text).is_ok_and(can_backquote);
                let quoted = if raw {
                    format!("`{}`", String::from_utf8_lossy(text))
                } else if self.spec.plus {
                    quote_ascii(text)
                } else {
                    quote(text)
                };
                self.pad(quoted.as_bytes());
            }
            'x' | 'X' => self.hex(text, verb),
            _ => self.bad_verb(arg, verb),
        }
    }

    fn truncated<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        let Some(precision) = self.spec.precision else {
            return text;
        };
        let mut left = precision;
        let mut end = 0;
        for chunk in text.utf8_chunks() {
            for c in chunk.valid().chars() {
                if left == 0 {
                    return &text[..end];
                }
                left -= 1;
                end += c.len_utf8();
            }
            for _ in chunk.invalid() {
                if left == 0 {
                    return &text[..end];
                }
                left -= 1;
                end += 1;
            }
        }
        text
    }

    fn hex(&mut self, text: &[u8], verb: char) {
        let upper = verb == 'X';
        let text = &text[..self
            .spec
            .precision
            .map_or(text.len(), |precision| precision.min(text.len()))];
        let prefix = match (self.spec.sharp, upper) {
            (false, _) => "",
            (true, false) => "0x",
            (true, true) => "0X",
        };
        let mut out = String::new();
        for (i, byte) in text.iter().enumerate() {
            if self.spec.space && i > 0 {
                out.push(' ');
            }
            if i == 0 || self.spec.space {
                out.push_str(prefix);
            }
            out.push_str(&if upper {
                format!("{byte:02X}")
            } else {
                format!("{byte:02x}")
            });
        }
        self.pad(out.as_bytes());
    }

    fn integer(&mut self, arg: &Value, number: i64, integer: Integer, verb: char) {
        let unsigned = matches!(integer, Integer::Uint8 | Integer::Uint64);
        let negative = number < 0 && !unsigned;
        let size = if unsigned {
            number as u64
        } else {
            number.unsigned_abs()
        };
        let digits = match verb {
            'v' if self.spec.sharp_v && unsigned => {
                let text = format!("{size:#x}");
                return self.pad(text.as_bytes());
            }
            'd' | 'v' => size.to_string(),
            'b' => format!("{size:b}"),
            'o' | 'O' => format!("{size:o}"),
            'x' => format!("{size:x}"),
            'X' => format!("{size:X}"),
            'c' | 'q' => {
                let c = u32::try_from(number)
                    .ok()
                    .and_then(char::from_u32)
                    .unwrap_or('\u{fffd}');
                let text = if verb == 'c' {
                    c.to_string()
                } else {
                    quote_char(c, self.spec.plus)
                };
                return self.pad(text.as_bytes());
            }
            'U' => return self.unicode(number),
            _ => return self.bad_verb(arg, verb),
        };
        let signed = negative || self.spec.plus || self.spec.space;
        let least = match (self.spec.precision, self.spec.width) {
            (Some(0), _) if size == 0 => {
                let zero = std::mem::take(&mut self.spec.zero);
                self.pad(b"");
                self.spec.zero = zero;
                return;
            }
            (Some(precision), _) => precision,
            (None, Some(width)) if self.spec.zero && !self.spec.minus => {
                width.saturating_sub(usize::from(signed))
            }
            _ => 0,
        };
        let mut text = zeros(digits, least);
        if self.spec.sharp {
            match verb {
                'b' => text.insert_str(0, "0b"),
                'o' if !text.starts_with('0') => text.insert(0, '0'),
                'x' => text.insert_str(0, "0x"),
                'X' => text.insert_str(0, "0X"),
                _ => {}
            }
        }
        if verb == 'O' {
            text.insert_str(0, "0o");
        }
        if let Some(sign) = self.sign(negative) {
            text.insert(0, sign);
        }
        let zero = std::mem::take(&mut self.spec.zero);
        self.pad(text.as_bytes());
        self.spec.zero = zero;
    }

    fn sign(&self, negative: bool) -> Option<char> {
        match (negative, self.spec.plus, self.spec.space) {
            (true, ..) => Some('-'),
            (_, true, _) => Some('+'),
            (_, _, true) => Some(' '),
            _ => None,
        }
    }

    fn unicode(&mut self, number: i64) {
        let least = self.spec.precision.unwrap_or(4).max(4);
        let mut text = format!("U+{}", zeros(format!("{:X}", number as u64), least));
        let c = u32::try_from(number).ok().and_then(char::from_u32);
        if let Some(c) =
            c.filter(|c| self.spec.sharp && (c.is_ascii_graphic() || *c == ' ' || is_printable(*c)))
        {
            text.push_str(&format!(" '{c}'"));
        }
        let zero = std::mem::take(&mut self.spec.zero);
        self.pad(text.as_bytes());
        self.spec.zero = zero;
    }

    fn float(&mut self, arg: &Value, number: f64, verb: char) {
        let (verb, precision) = match verb {
            'v' => ('g', self.spec.precision),
            'g' | 'G' | 'b' | 'x' | 'X' => (verb, self.spec.precision),
            'e' | 'E' | 'f' | 'F' => (verb, Some(self.spec.precision.unwrap_or(6))),
            _ => return self.bad_verb(arg, verb),
        };
        let mut text = float::format(number, verb, precision);
        if self.spec.sharp && verb != 'b' {
            text = with_point(&text, verb, precision.unwrap_or(6));
        }
        let negative = number.is_sign_negative() && !number.is_nan();
        let finite = number.is_finite();
        let sign = match self.sign(negative) {
            // Infinities always carry their sign.
            None if number.is_infinite() => Some('+'),
            sign => sign,
        };
        let width = self.spec.width.unwrap_or(0);
        let length = text.len() + usize::from(sign.is_some());
        if self.spec.zero && !self.spec.minus && finite && width > length {
            text.insert_str(0, &"0".repeat(width - length));
        }
        if let Some(sign) = sign {
            text.insert(0, sign);
        }
        let zero = std::mem::take(&mut self.spec.zero);
        self.pad(text.as_bytes());
        self.spec.zero = zero;
    }
}

/// Digits filled up with zeros on the left.
fn zeros(digits: String, least: usize) -> String {
    let missing = least.saturating_sub(digits.len());
    if missing == 0 {
        digits
    } else {
        "0".repeat(missing) + &digits
    }
}

/// `%#g` and its like: always a decimal point, and the zeros that `%g` leaves out.
fn with_point(text: &str, verb: char, precision: usize) -> String {
    let at = text.find(['e', 'E', 'p', 'P']).unwrap_or(text.len());
    let (mut mantissa, exponent) = (text[..at].to_owned(), &text[at..]);
    if !mantissa.contains('.') {
        mantissa.push('.');
    }
    if matches!(verb, 'g' | 'G') {
        let digits = mantissa.chars().filter(char::is_ascii_digit).count();
        let leading = mantissa
            .chars()
            .take_while(|c| matches!(c, '0' | '.'))
            .filter(|c| *c == '0')
            .count();
        let significant = digits - leading.min(digits.saturating_sub(1));
        mantissa.push_str(&"0".repeat(precision.saturating_sub(significant)));
    }
    mantissa + exponent
}

fn can_backquote(text: &str) -> bool {
    text.chars()
        .all(|c| c != '`' && c != '\u{feff}' && c != '\x7f' && (c == '\t' || !c.is_control()))
}
