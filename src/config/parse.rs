//! Flags and environment, read by clap. What it says of a wrong value becomes a sentence for operators.

use std::{
    error::Error,
    ffi::OsString,
    num::{IntErrorKind, ParseIntError},
};

use clap::{
    Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// Reads flags and environment, or ends the process: with the text that was asked for (`--help`), or with a sentence
/// that names the wrong variable or flag.
pub fn parse<T: Parser>() -> T {
    match parse_from::<T>(std::env::args_os()) {
        Ok(options) => options,
        Err(error) => error.exit(),
    }
}

fn parse_from<T: Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<T, clap::Error> {
    T::try_parse_from(arguments).map_err(|error| {
        match wrong_variable(&error, &T::command()).or_else(|| wrong_number(&error)) {
            Some(sentence) => clap::Error::raw(ErrorKind::ValueValidation, sentence + "\n"),
            None => error,
        }
    })
}

/// What Rust says of a text that is no number is for programmers.
fn no_number(error: &(dyn Error + 'static)) -> Option<&'static str> {
    Some(match error.downcast_ref::<ParseIntError>()?.kind() {
        IntErrorKind::Zero => "expected at least 1",
        IntErrorKind::PosOverflow => "expected a smaller number",
        _ => "expected a whole number",
    })
}

fn wrong_number(error: &clap::Error) -> Option<String> {
    let (Some(ContextValue::String(flag)), Some(ContextValue::String(value))) =
        (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue))
    else {
        return None;
    };
    let reason = no_number(Error::source(error)?)?;
    Some(format!("{}: '{value}' is not valid: {reason}", flag.split(' ').next()?))
}

/// clap names the flag of a wrong value even if the value came from the environment. This names the variable.
fn wrong_variable(error: &clap::Error, command: &clap::Command) -> Option<String> {
    let (Some(ContextValue::String(flag)), Some(ContextValue::String(value))) =
        (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue))
    else {
        return None;
    };
    let flag = flag.split(' ').next()?.strip_prefix("--")?;
    let variable = variable_of(command, flag)?;
    if std::env::var(&variable).ok()? != *value {
        return None; // the flag itself was given, and overrides the variable
    }
    let reason = match Error::source(error) {
        Some(source) => no_number(source).map_or_else(|| source.to_string(), Into::into),
        None => format!("expected {}", possible_values(error)?),
    };
    if is_secret(command, flag) {
        return Some(format!("{variable} is not valid: {reason}"));
    }
    Some(format!("{variable}: '{value}' is not valid: {reason}"))
}

/// Whether the value may hold a password.
fn is_secret(command: &clap::Command, flag: &str) -> bool {
    let of_this = command
        .get_arguments()
        .any(|argument| argument.get_long() == Some(flag) && argument.is_hide_env_values_set());
    of_this || command.get_subcommands().any(|inner| is_secret(inner, flag))
}

fn possible_values(error: &clap::Error) -> Option<String> {
    match error.get(ContextKind::ValidValue)? {
        ContextValue::Strings(values) => Some(values.join(" or ")),
        _ => None,
    }
}

fn variable_of(command: &clap::Command, flag: &str) -> Option<String> {
    command
        .get_arguments()
        .find(|argument| argument.get_long() == Some(flag))
        .and_then(|argument| argument.get_env())
        .map(|variable| variable.to_string_lossy().into_owned())
        .or_else(|| command.get_subcommands().find_map(|inner| variable_of(inner, flag)))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::config::{Limits, Logs};

    #[derive(Parser, Debug)]
    struct Options {
        #[command(flatten)]
        _limits: Limits,
        #[command(flatten)]
        _logs: Logs,
    }

    fn refusal(arguments: &[&str]) -> String {
        let arguments = std::iter::once("weir").chain(arguments.iter().copied()).map(OsString::from);
        parse_from::<Options>(arguments).expect_err("must be refused").to_string()
    }

    #[test]
    fn a_wrong_flag_is_named_with_what_was_expected() {
        assert!(refusal(&["--max-body", "large"]).contains("expected a size such as"));
        assert!(refusal(&["--max-body", "large"]).contains("--max-body"));
        assert_eq!(
            refusal(&["--max-events", "many"]),
            "error: --max-events: 'many' is not valid: expected a whole number\n"
        );
        assert!(refusal(&["--max-event-types", "0"]).contains("expected at least 1"));
        assert!(refusal(&["--log-level", "info,weir=loud"]).contains("expected error, warn"));
    }

    #[test]
    fn every_option_has_a_variable_and_a_help() {
        for argument in Options::command().get_arguments().filter(|argument| argument.get_id() != "help") {
            assert!(argument.get_env().is_some(), "{} has no environment variable", argument.get_id());
            assert!(argument.get_help().is_some(), "{} has no help", argument.get_id());
        }
    }
}
