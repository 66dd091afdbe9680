//! The order in which the YAML emitters write the keys of a table.

use std::cmp::Ordering;

/// Compares two keys as `toYaml` sorts them: runs of digits by their number, and letters after anything else.
///
/// ```
/// use chart_values::yaml::natural_cmp;
/// let mut keys = ["b", "a10", "a9", "_x", "B"];
/// keys.sort_by(|a, b| natural_cmp(a, b));
/// assert_eq!(keys, ["_x", "B", "a9", "a10", "b"]);
/// ```
pub fn natural_cmp(a: &str, b: &str) -> Ordering {
    compare(a, b, false)
}

/// Compares two keys as `toYamlPretty` sorts them: as [`natural_cmp`], but right after digits letters come first.
pub(super) fn natural_cmp_pretty(a: &str, b: &str) -> Ordering {
    compare(a, b, true)
}

/// Sorts entries by their keys.
///
/// go-yaml's order has circles (`a9` < `a10` < `a1x` < `a9`), for which the sorting of the standard library may panic;
/// this one gives some order then, as go-yaml does.
pub(super) fn sort<T>(entries: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) {
    if entries.is_sorted_by(|a, b| compare(a, b) != Ordering::Greater) {
        return;
    }
    let mut runs: Vec<Vec<T>> = entries.drain(..).map(|entry| vec![entry]).collect();
    while runs.len() > 1 {
        let mut merged = Vec::with_capacity(runs.len().div_ceil(2));
        let mut pairs = runs.into_iter();
        while let Some(left) = pairs.next() {
            merged.push(match pairs.next() {
                Some(right) => merge(left, right, &compare),
                None => left,
            });
        }
        runs = merged;
    }
    entries.extend(runs.into_iter().flatten());
}

fn merge<T>(left: Vec<T>, right: Vec<T>, compare: &impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let mut left = left.into_iter().peekable();
    let mut right = right.into_iter().peekable();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = if compare(b, a) == Ordering::Less {
            right.next()
        } else {
            left.next()
        };
        merged.extend(next);
    }
    merged.extend(left);
    merged.extend(right);
    merged
}

fn compare(a: &str, b: &str, pretty: bool) -> Ordering {
    if a == b {
        Ordering::Equal
    } else if less(a, b, pretty) {
        Ordering::Less
    } else {
        Ordering::Greater
    }
}

fn less(a: &str, b: &str, pretty: bool) -> bool {
    let shared = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    // The bytes may part in the middle of a character.
    let shared = (0..=shared)
        .rev()
        .find(|at| a.is_char_boundary(*at) && b.is_char_boundary(*at))
        .unwrap_or(0);
    let (Some(x), Some(y)) = (a[shared..].chars().next(), b[shared..].chars().next()) else {
        return a.len() < b.len();
    };
    let in_digits = pretty && a[..shared].chars().next_back().is_some_and(is_digit);
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
