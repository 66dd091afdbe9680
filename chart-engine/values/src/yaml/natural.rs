//! The order in which the YAML emitters write the keys of a table.

use std::cmp::Ordering;

/// Compares two keys as go-yaml sorts them: runs of digits by their number, and letters after anything else.
///
/// ```
/// use chart_values::yaml::natural_cmp;
/// let mut keys = ["b", "a10", "a9", "_x", "B"];
/// keys.sort_by(|a, b| natural_cmp(a, b));
/// assert_eq!(keys, ["_x", "B", "a9", "a10", "b"]);
/// ```
pub fn natural_cmp(a: &str, b: &str) -> Ordering {
    if less(a, b) {
        Ordering::Less
    } else if less(b, a) {
        Ordering::Greater
    } else {
        Ordering::Equal
    }
}

fn less(a: &str, b: &str) -> bool {
    let shared = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    // The bytes may part in the middle of a character.
    let shared = (0..=shared)
        .rev()
        .find(|at| a.is_char_boundary(*at) && b.is_char_boundary(*at))
        .unwrap_or(0);
    let (Some(x), Some(y)) = (a[shared..].chars().next(), b[shared..].chars().next()) else {
        return a.len() < b.len();
    };
    let in_digits = a[..shared].chars().next_back().is_some_and(is_digit);
    match (x.is_alphabetic(), y.is_alphabetic()) {
        (true, true) => return x < y,
        // In a run of digits the end of the run comes first, elsewhere letters come last.
        (x_letter, y_letter) if x_letter || y_letter => return if in_digits { x_letter } else { y_letter },
        _ => {}
    }
    let mut numbers = (run(&a[shared..]), run(&b[shared..]));
    if x == '0' || y == '0' {
        // A zero after a digit other than zero counts as one more place, so give both a one to stand on.
        let nonzero_before = a[..shared]
            .chars()
            .rev()
            .take_while(|c| is_digit(*c))
            .any(|c| c != '0');
        if nonzero_before {
            numbers = (with_head(&a[shared..]), with_head(&b[shared..]));
        }
    }
    let ((number_a, length_a), (number_b, length_b)) = numbers;
    if number_a != number_b {
        return number_a < number_b;
    }
    if length_a != length_b {
        return length_a < length_b;
    }
    x < y
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

/// The number at the head of `text` and how many digits it has.
fn run(text: &str) -> (i64, usize) {
    digits_from(0, text)
}

fn with_head(text: &str) -> (i64, usize) {
    digits_from(1, text)
}

fn digits_from(head: i64, text: &str) -> (i64, usize) {
    text.bytes()
        .take_while(u8::is_ascii_digit)
        .fold((head, 0), |(number, length), digit| {
            (
                number.wrapping_mul(10).wrapping_add(i64::from(digit - b'0')),
                length + 1,
            )
        })
}
