//! The form in which an index is kept: texts in a row and the numbers that part them, looked into without being parsed.
//!
//! What is written is read again in the same order. A text is its length among the numbers and its bytes among the texts,
//! a list is its length and its texts.

/// Numbers and texts, in the order in which they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Form {
    texts: String,
    numbers: Vec<u32>,
}

/// Where something begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    number: usize,
    byte: usize,
}

/// Reads from a place on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'f> {
    form: &'f Form,
    place: Place,
}

/// The texts of a list.
#[derive(Debug, Clone)]
pub struct Texts<'f> {
    reader: Reader<'f>,
    left: usize,
}

impl Form {
    pub(crate) fn write_number(&mut self, number: usize) {
        // A number that does not fit is found wrong when it is read.
        self.numbers.push(u32::try_from(number).unwrap_or(u32::MAX));
    }

    pub(crate) fn write_text(&mut self, text: &str) {
        self.write_number(text.len());
        self.texts.push_str(text);
    }

    pub(crate) fn write_list(&mut self, texts: &[impl AsRef<str>]) {
        self.write_number(texts.len());
        for text in texts {
            self.write_text(text.as_ref());
        }
    }

    pub(crate) fn read(&self, place: Place) -> Reader<'_> {
        Reader { form: self, place }
    }

    /// Takes it apart: the texts as one, and the numbers as bytes.
    pub(crate) fn to_parts(&self) -> (&str, Vec<u8>) {
        let numbers = self.numbers.iter().flat_map(|number| number.to_le_bytes());
        (&self.texts, numbers.collect())
    }

    /// Reads the numbers of the second part.
    pub(crate) fn numbers(bytes: &[u8]) -> Vec<u32> {
        let (numbers, _) = bytes.as_chunks();
        numbers.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
    }

    /// Puts it together again.
    pub(crate) fn of_parts(texts: String, numbers: Vec<u32>) -> Self {
        Self { texts, numbers }
    }
}

impl<'f> Reader<'f> {
    /// Where it is.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Whether everything was read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.place.number == self.form.numbers.len() && self.place.byte == self.form.texts.len()
    }

    pub(crate) fn number(&mut self) -> Option<usize> {
        let number = *self.form.numbers.get(self.place.number)?;
        self.place.number += 1;
        usize::try_from(number).ok()
    }

    pub(crate) fn text(&mut self) -> Option<&'f str> {
        let length = self.number()?;
        let end = self.place.byte.checked_add(length)?;
        let text = self.form.texts.get(self.place.byte..end)?;
        self.place.byte = end;
        Some(text)
    }

    pub(crate) fn list(&mut self) -> Option<Texts<'f>> {
        let left = self.number()?;
        let reader = *self;
        for _ in 0..left {
            self.text()?;
        }
        Some(Texts { reader, left })
    }
}

impl<'f> Iterator for Texts<'f> {
    type Item = &'f str;

    fn next(&mut self) -> Option<&'f str> {
        self.left = self.left.checked_sub(1)?;
        self.reader.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_in_order() {
        let mut form = Form::default();
        form.write_text("ä");
        form.write_list(&["", "b"]);
        form.write_number(7);
        let (texts, numbers) = form.to_parts();
        let form = Form::of_parts(texts.to_owned(), Form::numbers(&numbers));
        let mut reader = form.read(Place::default());
        assert_eq!(reader.text(), Some("ä"));
        assert_eq!(reader.list().unwrap().collect::<Vec<_>>(), ["", "b"]);
        assert!(!reader.is_at_end());
        assert_eq!(reader.number(), Some(7));
        assert!(reader.is_at_end());
        assert_eq!((reader.number(), reader.text()), (None, None));
    }

    #[test]
    fn err_numbers_that_part_nothing() {
        for (texts, number) in [("a", 2_u32), ("ä", 1), ("a", u32::MAX)] {
            let form = Form::of_parts(texts.to_owned(), vec![number]);
            assert_eq!(form.read(Place::default()).text(), None);
            assert!(form.read(Place::default()).list().is_none());
        }
    }
}
