//! Reads what Redis answers to a pipeline, value by value.

use redis::{FromRedisValue, ParsingError, Value};

/// The next answer; of one that is missing, nil.
pub(super) fn next<T: FromRedisValue>(values: &mut impl Iterator<Item = Value>) -> Result<T, ParsingError> {
    redis::from_redis_value(values.next().unwrap_or(Value::Nil))
}
