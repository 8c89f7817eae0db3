//! A sampled type as the VPL declaration that says the same.

use super::SampledType;
use crate::connector::spec::TimeUnit;

/// The `event` declaration to paste into a program. What VPL cannot declare, because its name is not
/// one of VPL's, is in comments.
pub fn declaration(ty: &SampledType, name: &str) -> String {
    let width = ty.schema.fields.iter().map(|f| line_width(&f.name, &f.data_type.to_string())).max().unwrap_or(0);
    let mut out = format!("event {name}:\n");
    for (i, field) in ty.schema.fields.iter().enumerate() {
        let text = format!("{}: {}", field.name, field.data_type);
        let note = note(ty, i);
        let line = match (is_identifier(&field.name), note) {
            (true, note) if note.is_empty() => format!("    {text}\n"),
            (true, note) => format!("    {text:<width$}    # {note}\n"),
            (false, _) => format!("    # {text}: not a name in VPL\n"),
        };
        out.push_str(&line);
    }
    out
}

fn line_width(name: &str, ty: &str) -> usize {
    name.chars().count() + ty.chars().count() + 2
}

fn note(ty: &SampledType, field: usize) -> String {
    let unit = ty.time_units[field].map(|unit| {
        let unit = match unit {
            TimeUnit::Seconds => "s",
            TimeUnit::Milliseconds => "ms",
            TimeUnit::Microseconds => "us",
            TimeUnit::Nanoseconds => "ns",
        };
        format!("an int in the input: {unit} since 1970")
    });
    let time = (ty.event_time == Some(field)).then(|| "the event time".to_string());
    time.into_iter().chain(unit).collect::<Vec<_>>().join("; ")
}

fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}
