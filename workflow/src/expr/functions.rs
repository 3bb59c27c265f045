//! The functions of expressions in addition to standard CEL, and the functions that `bind` inserts into trees.
//!
//! Names that begin with `@` are not valid in a text; `bind` replaces the names of functions by them. A function whose first
//! argument is the meter charges for its work.

use std::sync::{Arc, LazyLock};

use cel::common::functions::Function;
use cel::common::types::{CelBool, CelInt, CelList, CelMap, CelString, DYN_TYPE};
use cel::common::value::{CowVal, Val};
use cel::{Env, ExecutionError};
use longshore_proto::find_lossy_number;

use super::convert::{to_json, to_owned_val};
use super::format_text::{self, FormatError, FormatPart};
use super::meter::{self, WorkMeter};

use crate::source::shorten;

/// Bytes of JSON that are parsed for one unit of work. Every second byte can be a value.
const JSON_BYTES_PER_UNIT: usize = 4;

type FunctionResult<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// The environment in which all expressions are evaluated.
pub(super) static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    let functions: [(&str, usize, Function); 11] = [
        ("@addend", 2, addend),
        ("@copy", 2, copy),
        ("@scan", 2, scan),
        ("@size", 2, size),
        ("@range", 3, range),
        ("@contains", 2, contains),
        ("@matches", 3, matches),
        ("@join", 3, join),
        ("@format", 3, format),
        ("@toJSON", 2, to_json_text),
        ("@fromJSON", 2, from_json_text),
    ];
    for (name, arity, function) in functions {
        // Fails only if a name occurs twice in this list; the tests call each function.
        let _ = env.add_overload(name, name, (0..arity).map(|_| DYN_TYPE).collect(), function);
    }
    Arc::new(env)
});

fn fault(function: &str, message: impl ToString) -> ExecutionError {
    ExecutionError::function_error(function, message)
}

/// Converts the arguments to an array. Their number is that of the declared overload.
fn take<'b, 'v, const N: usize>(args: Vec<CowVal<'b, 'v>>) -> Result<[CowVal<'b, 'v>; N], ExecutionError> {
    args.try_into().map_err(|args: Vec<_>| ExecutionError::invalid_argument_count(N, args.len()))
}

fn meter_of<'a>(value: &'a CowVal<'_, '_>) -> Result<&'a WorkMeter, ExecutionError> {
    value.downcast_ref::<WorkMeter>().ok_or_else(|| fault("meter", "the meter is missing"))
}

fn text_of<'a>(function: &str, value: &'a dyn Val) -> Result<&'a str, ExecutionError> {
    let text = value.downcast_ref::<CelString<'_>>().map(CelString::inner);
    text.ok_or_else(|| fault(function, format!("wants text here, not {}", value.get_type().name())))
}

/// Charges for a value that is copied or compared, and returns it.
fn copy<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> FunctionResult<'b, 'v> {
    let [meter, value] = take(args)?;
    meter_of(&meter)?.charge(meter::of_val(value.as_ref()))?;
    Ok(value)
}

/// Charges for an operand of an addition, and returns it. Refuses maps: the crate would append the keys of a map to a list,
/// in undefined order, which CEL does not allow.
fn addend<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> FunctionResult<'b, 'v> {
    let value = copy(args)?;
    if value.downcast_ref::<CelMap<'_>>().is_some() {
        return Err(fault("+", "a map cannot be added to anything"));
    }
    Ok(value)
}

/// Charges for a value that is searched, and returns it. The look-up of a key in a map has a constant cost.
fn scan<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> FunctionResult<'b, 'v> {
    let [meter, value] = take(args)?;
    let units = if value.downcast_ref::<CelMap<'_>>().is_some() { 1 } else { meter::of_val(value.as_ref()) };
    meter_of(&meter)?.charge(units)?;
    Ok(value)
}

/// Charges for a value whose size is computed, and returns it. Only the characters of texts have to be counted.
fn size<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> FunctionResult<'b, 'v> {
    let [meter, value] = take(args)?;
    let units =
        if value.downcast_ref::<CelString<'_>>().is_some() { meter::of_val(value.as_ref()) } else { 1 };
    meter_of(&meter)?.charge(units)?;
    Ok(value)
}

/// Charges for a loop and returns the list that it iterates over. A map gives its sorted keys, since the order of the crate
/// is random and an expression must have the same value on every machine. The third argument is the size of the loop's body.
fn range<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> FunctionResult<'b, 'v> {
    let [meter, value, body] = take(args)?;
    let body =
        body.downcast_ref::<CelInt>().and_then(|nodes| u64::try_from(*nodes.inner()).ok()).unwrap_or(1);
    let rounds = value.as_sizer().and_then(|sizer| u64::try_from(*sizer.size().inner()).ok()).unwrap_or(0);
    meter_of(&meter)?.charge(meter::of_val(value.as_ref()).saturating_add(rounds.saturating_mul(body)))?;
    let Some(map) = value.downcast_ref::<CelMap<'_>>() else { return Ok(value) };
    let mut keys: Vec<_> = map.inner().keys().collect();
    keys.sort_unstable();
    Ok(CowVal::owned(CelList::from(
        keys.into_iter().map(|key| key.inner().clone_as_boxed()).collect::<Vec<_>>(),
    )))
}

/// Implements `contains(a, b)` and `a.contains(b)`: a text in a text, an item in a list, a key in a map.
fn contains<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> FunctionResult<'b, 'v> {
    let [whole, part] = take(args)?;
    if let Some(text) = whole.downcast_ref::<CelString<'_>>() {
        let part = text_of("contains", part.as_ref())?;
        return Ok(CowVal::owned(CelBool::from(text.inner().contains(part))));
    }
    let message = || fault("contains", format!("{} contains nothing", whole.get_type().name()));
    let found = whole.as_container().ok_or_else(message)?.contains(part.as_ref())?;
    Ok(CowVal::owned(CelBool::from(found)))
}

fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> FunctionResult<'b, 'v> {
    let [meter, text, pattern] = take(args)?;
    let (text, pattern) = (text_of("matches", text.as_ref())?, text_of("matches", pattern.as_ref())?);
    Ok(CowVal::owned(CelBool::from(meter_of(&meter)?.matches(text, pattern)?)))
}

/// Converts a value to a part of a text: texts are unchanged, other values become JSON.
fn in_text(function: &str, meter: &WorkMeter, value: &dyn Val) -> Result<String, ExecutionError> {
    meter.charge(meter::of_val(value))?;
    match value.downcast_ref::<CelString<'_>>() {
        Some(text) => Ok(text.inner().to_owned()),
        None => to_json(value).map(|json| json.to_string()).map_err(|error| fault(function, error)),
    }
}

fn join<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> FunctionResult<'b, 'v> {
    let [meter, list, separator] = take(args)?;
    let separator = text_of("join", separator.as_ref())?;
    let Some(list) = list.downcast_ref::<CelList<'_>>() else {
        return Err(fault("join", format!("wants a list, not {}", list.get_type().name())));
    };
    let mut joined = String::new();
    for (index, item) in list.inner().iter().enumerate() {
        let part = in_text("join", meter_of(&meter)?, item.as_ref())?;
        charge_text(meter_of(&meter)?, part.len() + separator.len())?;
        joined.push_str(if index == 0 { "" } else { separator });
        joined.push_str(&part);
    }
    Ok(CowVal::owned(CelString::from(joined)))
}

/// Charges for the bytes of a new text.
fn charge_text(meter: &WorkMeter, bytes: usize) -> Result<(), ExecutionError> {
    meter.charge(1 + (bytes / 64) as u64)
}

/// Implements `format('{0} of {1}', a, b)`; `{{` and `}}` are literal braces.
fn format<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> FunctionResult<'b, 'v> {
    let [meter, pattern, values] = take(args)?;
    let pattern = text_of("format", pattern.as_ref())?;
    let values = values.downcast_ref::<CelList<'_>>().map_or(&[][..], CelList::inner);
    let mut text = String::new();
    for part in format_text::parts(pattern, values.len()) {
        match part {
            Ok(FormatPart::Plain(plain)) => text.push_str(plain),
            Ok(FormatPart::Value(number)) => {
                let value =
                    values.get(number).map(|value| in_text("format", meter_of(&meter)?, value.as_ref()));
                let value = value.transpose()?.unwrap_or_default();
                charge_text(meter_of(&meter)?, value.len())?;
                text.push_str(&value);
            }
            Err(FormatError { message, help }) => return Err(fault("format", format!("{message}; {help}"))),
        }
    }
    Ok(CowVal::owned(CelString::from(text)))
}

fn to_json_text<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> FunctionResult<'b, 'v> {
    let [meter, value] = take(args)?;
    let meter = meter_of(&meter)?;
    // Charge for the JSON value here, and for its text below.
    meter.charge(meter::of_val(value.as_ref()))?;
    let text = to_json(value.as_ref()).map_err(|error| fault("toJSON", error))?.to_string();
    meter.charge(meter::of_text(&text))?;
    Ok(CowVal::owned(CelString::from(text)))
}

fn from_json_text<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> FunctionResult<'b, 'v> {
    let [meter, text] = take(args)?;
    let text = text_of("fromJSON", text.as_ref())?;
    meter_of(&meter)?.charge((text.len() / JSON_BYTES_PER_UNIT) as u64)?;
    let json = serde_json::from_str(text).map_err(|error| fault("fromJSON", error))?;
    if let Some(number) = find_lossy_number(text) {
        let message = format!("the last digits of the number {} would be lost", shorten(number));
        return Err(fault("fromJSON", message));
    }
    meter_of(&meter)?.charge(meter::of_json(&json))?;
    to_owned_val(&json).map(CowVal::Owned).map_err(|error| fault("fromJSON", error))
}
