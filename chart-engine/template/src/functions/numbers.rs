//! Numbers.

use super::cast::{to_float, to_int, to_text};
use super::decimal::Decimal;
use super::{Entry, Outcome, integer, made, string, takes, takes_many};
use crate::fault::Fault;
use crate::signature::Type;
use crate::surroundings::Scope;
use crate::value::{Element, List, Value};

const ANY: &[Type] = &[Type::Any];
const TWO: &[Type] = &[Type::Any, Type::Any];

pub(super) const ROWS: &[Entry] = &[
    takes("atoi", &[Type::String], |_, args| {
        Ok(Value::int(atoi(&string(&args[0]))))
    }),
    takes("int", ANY, |_, args| Ok(Value::int(to_int(&args[0])))),
    takes("int64", ANY, |_, args| Ok(Value::int64(to_int(&args[0])))),
    takes("float64", ANY, |_, args| Ok(Value::Float(to_float(&args[0])))),
    takes("toDecimal", ANY, to_decimal),
    takes_many("seq", &[], Type::Int, seq),
    takes("until", &[Type::Int], |scope, args| {
        let count = integer(&args[0]);
        until_step(scope, 0, count, if count < 0 { -1 } else { 1 }).map(int_list)
    }),
    takes("untilStep", &[Type::Int, Type::Int, Type::Int], |scope, args| {
        until_step(scope, integer(&args[0]), integer(&args[1]), integer(&args[2])).map(int_list)
    }),
    takes_many("add", &[], Type::Any, |_, args| {
        Ok(Value::int64(
            args.iter().fold(0, |sum: i64, arg| sum.wrapping_add(to_int(arg))),
        ))
    }),
    takes("add1", ANY, |_, args| {
        Ok(Value::int64(to_int(&args[0]).wrapping_add(1)))
    }),
    takes("sub", TWO, |_, args| {
        Ok(Value::int64(to_int(&args[0]).wrapping_sub(to_int(&args[1]))))
    }),
    takes("div", TWO, |_, args| divide(args, i64::wrapping_div)),
    takes("mod", TWO, |_, args| divide(args, i64::wrapping_rem)),
    takes_many("mul", ANY, Type::Any, |_, args| {
        Ok(Value::int64(
            args.iter()
                .fold(1, |product: i64, arg| product.wrapping_mul(to_int(arg))),
        ))
    }),
    takes("randInt", &[Type::Int, Type::Int], rand_int),
    takes_many("max", ANY, Type::Any, max),
    takes_many("biggest", ANY, Type::Any, max),
    takes_many("min", ANY, Type::Any, |_, args| {
        Ok(Value::int64(args.iter().map(to_int).min().unwrap_or(0)))
    }),
    takes_many("maxf", ANY, Type::Any, |_, args| Ok(extreme(args, f64::gt))),
    takes_many("minf", ANY, Type::Any, |_, args| Ok(extreme(args, f64::lt))),
    takes("ceil", ANY, |_, args| Ok(Value::Float(to_float(&args[0]).ceil()))),
    takes("floor", ANY, |_, args| {
        Ok(Value::Float(to_float(&args[0]).floor()))
    }),
    takes_many("round", &[Type::Any, Type::Int], Type::Float64, round),
    takes_many("addf", &[], Type::Any, |scope, args| {
        let all: Vec<Value> = [Value::int(0)].into_iter().chain(args.iter().cloned()).collect();
        decimals(scope, &all, |a, b| Ok(a.add(b)))
    }),
    takes("add1f", ANY, |scope, args| {
        decimals(scope, &[args[0].clone(), Value::int(1)], |a, b| Ok(a.add(b)))
    }),
    takes_many("subf", ANY, Type::Any, |scope, args| {
        decimals(scope, args, |a, b| Ok(a.sub(b)))
    }),
    takes_many("divf", ANY, Type::Any, |scope, args| {
        decimals(scope, args, |a, b| {
            a.div(b).ok_or_else(|| Fault::new("decimal division by 0"))
        })
    }),
    takes_many("mulf", ANY, Type::Any, |scope, args| {
        decimals(scope, args, |a, b| Ok(a.mul(b)))
    }),
];

/// A decimal integer; what is none is zero, what is too large is the largest.
fn atoi(text: &str) -> i64 {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    text.parse()
        .unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX })
}

fn to_decimal(scope: &mut Scope, args: &[Value]) -> Outcome {
    scope.walk(&args[0])?;
    // Octal digits, in spite of the name.
    let octal = to_text(&args[0]);
    Ok(Value::int64(i64::from_str_radix(&octal.to_str(), 8).unwrap_or(0)))
}

fn until_step(scope: &mut Scope, start: i64, stop: i64, step: i64) -> Result<Vec<i64>, Fault> {
    let mut numbers = Vec::new();
    let down = stop < start;
    if down && step >= 0 || !down && step <= 0 {
        return Ok(numbers);
    }
    let count = start.abs_diff(stop).div_ceil(step.unsigned_abs());
    scope.items(usize::try_from(count).unwrap_or(usize::MAX))?;
    let mut at = start;
    while if down { at > stop } else { at < stop } {
        numbers.push(at);
        match at.checked_add(step) {
            Some(next) => at = next,
            None => break,
        }
    }
    Ok(numbers)
}

fn int_list(numbers: Vec<i64>) -> Value {
    Value::List(List::typed(Element::Int, numbers.into_iter().map(Value::int).collect()).into())
}

fn seq(scope: &mut Scope, args: &[Value]) -> Outcome {
    let params: Vec<i64> = args.iter().map(integer).collect();
    let (start, step, end) = match params[..] {
        [end] => (1, if end < 1 { -1 } else { 1 }, end),
        [start, end] => (start, if end < start { -1 } else { 1 }, end),
        [start, step, end] if end >= start || step <= 0 => (start, step, end),
        _ => return Ok(Value::from("")),
    };
    // The end belongs to the sequence.
    let beyond = end.saturating_add(if end < start { -1 } else { 1 });
    let numbers = until_step(scope, start, beyond, step)?;
    let texts: Vec<String> = numbers.iter().map(i64::to_string).collect();
    made(scope, texts.join(" ").into_bytes())
}

fn divide(args: &[Value], by: fn(i64, i64) -> i64) -> Outcome {
    match to_int(&args[1]) {
        0 => Err(Fault::new("runtime error: integer divide by zero")),
        divisor => Ok(Value::int64(by(to_int(&args[0]), divisor))),
    }
}

fn rand_int(scope: &mut Scope, args: &[Value]) -> Outcome {
    let (low, high) = (integer(&args[0]), integer(&args[1]));
    let span = high.checked_sub(low).filter(|span| *span > 0);
    let Some(span) = span.and_then(|span| u64::try_from(span).ok()) else {
        return Err(Fault::new("invalid argument to Intn"));
    };
    let offset = super::chance::below(scope, span)?;
    Ok(Value::int(low.wrapping_add_unsigned(offset)))
}

fn max(_: &mut Scope, args: &[Value]) -> Outcome {
    Ok(Value::int64(args.iter().map(to_int).max().unwrap_or(0)))
}

fn extreme(args: &[Value], better: fn(&f64, &f64) -> bool) -> Value {
    let numbers = args.iter().map(to_float);
    let chosen = numbers.reduce(|best, next| {
        if best.is_nan() || next.is_nan() {
            f64::NAN
        } else if better(&next, &best) {
            next
        } else {
            best
        }
    });
    Value::Float(chosen.unwrap_or(0.0))
}

fn round(_: &mut Scope, args: &[Value]) -> Outcome {
    let value = to_float(&args[0]);
    let threshold = match args.get(2) {
        Some(Value::Float(threshold)) => *threshold,
        _ => 0.5,
    };
    let scale = 10f64.powf(integer(&args[1]) as f64);
    let digit = scale * value;
    let rounded = if digit.fract() >= threshold {
        digit.ceil()
    } else {
        digit.floor()
    };
    Ok(Value::Float(rounded / scale))
}

/// Computes with exact decimals, from the left.
fn decimals(
    scope: &mut Scope,
    args: &[Value],
    compute: fn(&Decimal, &Decimal) -> Result<Decimal, Fault>,
) -> Outcome {
    let exact = |value: &Value| {
        let number = to_float(value);
        Decimal::from_float(number).ok_or_else(|| {
            Fault::new(format!(
                "Cannot create a Decimal from {}",
                crate::format::shortest(number)
            ))
        })
    };
    let mut result = exact(&args[0])?;
    for arg in &args[1..] {
        // Every product makes the numbers longer.
        scope.spend(result.digits() / 16 + 1)?;
        result = compute(&result, &exact(arg)?)?;
    }
    Ok(Value::Float(result.to_float()))
}
