//! Signatures: their text is parsed and calls are checked by it.
//!
//! ```text
//! round(x: float, digits: int?) -> float       `?` after a parameter: it may be left out
//! abs(x: int) -> int                           one line for each overload
//! abs(x: float) -> float
//! least(x: T, y: T, ...) -> T where T: ordered `...` repeats the last parameter
//! get(list: [T], index: int) -> T?             `?` after the result: it may be null though no argument is
//! hash(x: any, ...) -> int!                    `!` after the result: it is never null
//! ```
//!
//! The result is nullable where an argument is, but for the marks. A parameter of type `float` takes
//! an int, any parameter takes `null`, and the arguments for a type variable are widened to what they have in
//! common. Overloads that need no widening go first.

use std::fmt::Write;

use super::Resolved;
use crate::data::{DataType, Type};

/// A line of a signature, parsed.
#[derive(Debug)]
struct Overload {
    params: Vec<Param>,
    /// Whether the last parameter may be repeated.
    repeats: bool,
    result: Pattern,
    nullability: Nullability,
    ordered: bool,
}

#[derive(Debug)]
struct Param {
    pattern: Pattern,
    optional: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Pattern {
    Exactly(Type),
    /// `T`, the only type variable that a signature can have.
    Variable,
    /// A value of whatever type, by itself.
    Any,
    List(Box<Pattern>),
    Map(Box<Pattern>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Nullability {
    OfArguments,
    Always,
    Never,
}

/// The types of a call by one of the lines of `signature`, or what is wrong with it.
pub fn resolve(name: &str, signature: &str, args: &[DataType]) -> Result<Resolved, String> {
    let overloads: Vec<_> = signature.lines().map(|line| Overload::parse(line).expect("the table is tested")).collect();
    let with = |widen| overloads.iter().find_map(|o| o.resolve(args, widen));
    with(false).or_else(|| with(true)).ok_or_else(|| {
        let takes: Vec<_> = overloads.iter().map(Overload::parameters).collect();
        let found: Vec<_> = args.iter().map(DataType::to_string).collect();
        format!("`{name}` takes {}, not ({})", takes.join(" or "), found.join(", "))
    })
}

/// Whether a line of a signature can be read.
#[cfg(test)]
pub(super) fn is_well_formed(line: &str) -> bool {
    Overload::parse(line).is_some()
}

/// The types of arguments that each line of a signature takes, fewest and most, where its type
/// variable stands for `variable`; arguments of any type have that one too.
#[cfg(any(test, feature = "checked"))]
pub fn examples(signature: &str, variable: &DataType) -> Vec<Vec<DataType>> {
    let mut out = Vec::new();
    for overload in signature.lines().map(|line| Overload::parse(line).expect("the table is tested")) {
        let fill = |param: &Param| param.pattern.example(variable);
        let mut most: Vec<_> = overload.params.iter().map(fill).collect();
        let required = overload.params.iter().filter(|p| !p.optional).count();
        out.push(most[..required].to_vec());
        if overload.repeats {
            most.extend(overload.params.last().map(fill));
        }
        if most.len() > required {
            out.push(most);
        }
    }
    out
}

impl Overload {
    fn parse(line: &str) -> Option<Overload> {
        let (line, ordered) = match line.strip_suffix(" where T: ordered") {
            Some(line) => (line, true),
            None => (line, false),
        };
        let (head, result) = line.split_once(") -> ")?;
        let (_, params) = head.split_once('(')?;
        let (result, nullability) = match (result.strip_suffix('?'), result.strip_suffix('!')) {
            (Some(result), _) => (result, Nullability::Always),
            (_, Some(result)) => (result, Nullability::Never),
            (None, None) => (result, Nullability::OfArguments),
        };
        let mut params: Vec<_> = params.split(", ").filter(|p| !p.is_empty()).collect();
        let repeats = params.pop_if(|p| *p == "...").is_some();
        let params = params.into_iter().map(Param::parse).collect::<Option<_>>()?;
        Some(Overload { params, repeats, result: Pattern::parse(result)?, nullability, ordered })
    }

    fn resolve(&self, args: &[DataType], widen: bool) -> Option<Resolved> {
        let required = self.params.iter().filter(|p| !p.optional).count();
        if args.len() < required || (args.len() > self.params.len() && !self.repeats) {
            return None;
        }
        let last = self.params.len().saturating_sub(1);
        let patterns: Vec<_> = (0..args.len()).map(|i| &self.params[i.min(last)].pattern).collect();
        let mut variable = None;
        for (pattern, arg) in patterns.iter().zip(args) {
            pattern.accept(arg, widen, &mut variable)?;
        }
        let variable = variable.unwrap_or(Type::Null.optional());
        if self.ordered && !variable.ty.is_ordered() {
            return None;
        }
        let is_null = |arg: &DataType| arg.nullable || arg.ty == Type::Null;
        let resolved = patterns.iter().zip(args).map(|(p, arg)| p.fill(arg, &variable).with_nullable(is_null(arg)));
        let nullable = match self.nullability {
            Nullability::OfArguments => args.iter().any(is_null),
            Nullability::Always => true,
            Nullability::Never => false,
        };
        let result = self.result.fill(&Type::Null.optional(), &variable);
        Some(Resolved { args: resolved.collect(), result: result.with_nullable(nullable) })
    }

    /// The parameters' types, for messages.
    fn parameters(&self) -> String {
        let mut out = String::from("(");
        for (i, param) in self.params.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            let mark = if param.optional { "?" } else { "" };
            write!(out, "{comma}{}{mark}", param.pattern).expect("writing to a string");
        }
        out.push_str(if self.repeats { ", ...)" } else { ")" });
        out
    }
}

impl Param {
    fn parse(text: &str) -> Option<Param> {
        let (_, ty) = text.split_once(": ")?;
        let (ty, optional) = match ty.strip_suffix('?') {
            Some(ty) => (ty, true),
            None => (ty, false),
        };
        Some(Param { pattern: Pattern::parse(ty)?, optional })
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Pattern> {
        if let Some(item) = text.strip_prefix('[') {
            return Some(Pattern::List(Box::new(Pattern::parse(item.strip_suffix(']')?)?)));
        }
        if let Some(value) = text.strip_prefix("{str: ") {
            return Some(Pattern::Map(Box::new(Pattern::parse(value.strip_suffix('}')?)?)));
        }
        Some(match text {
            "T" => Pattern::Variable,
            "any" => Pattern::Any,
            "int" => Pattern::Exactly(Type::Int),
            "float" => Pattern::Exactly(Type::Float),
            "bool" => Pattern::Exactly(Type::Bool),
            "str" => Pattern::Exactly(Type::Str),
            "timestamp" => Pattern::Exactly(Type::Timestamp),
            "duration" => Pattern::Exactly(Type::Duration),
            _ => return None,
        })
    }

    /// Whether an argument fits; unifies the type variable with what it stands for.
    fn accept(&self, arg: &DataType, widen: bool, variable: &mut Option<DataType>) -> Option<()> {
        match (self, &arg.ty) {
            (Pattern::Any, _) => Some(()),
            (Pattern::Variable, _) => {
                *variable = Some(match variable.take() {
                    None => arg.clone(),
                    Some(so_far) if widen || same_kind(&so_far.ty, &arg.ty) => so_far.unify(arg)?,
                    Some(_) => return None,
                });
                Some(())
            }
            (_, Type::Null) => Some(()),
            (Pattern::Exactly(Type::Float), Type::Int) => widen.then_some(()),
            (Pattern::Exactly(ty), found) => (ty == found).then_some(()),
            (Pattern::List(item), Type::List(found)) | (Pattern::Map(item), Type::Map(found)) => {
                item.accept(found, widen, variable)
            }
            (Pattern::List(_) | Pattern::Map(_), _) => None,
        }
    }

    /// The type to which an argument that was accepted is cast.
    fn fill(&self, arg: &DataType, variable: &DataType) -> DataType {
        match (self, &arg.ty) {
            (Pattern::Exactly(ty), _) => ty.clone().required().with_nullable(arg.nullable || arg.ty == Type::Null),
            (Pattern::Variable, _) => variable.clone(),
            (Pattern::Any, _) => arg.clone(),
            (Pattern::List(item), Type::List(found)) => Type::List(Box::new(item.fill(found, variable))).required(),
            (Pattern::Map(value), Type::Map(found)) => Type::Map(Box::new(value.fill(found, variable))).required(),
            (Pattern::List(item), _) => Type::List(Box::new(item.fill(&item.unfilled(), variable))).required(),
            (Pattern::Map(value), _) => Type::Map(Box::new(value.fill(&value.unfilled(), variable))).required(),
        }
    }

    #[cfg(any(test, feature = "checked"))]
    fn example(&self, variable: &DataType) -> DataType {
        match self {
            Pattern::Exactly(ty) => ty.clone().optional(),
            Pattern::Variable | Pattern::Any => variable.clone(),
            Pattern::List(item) => Type::List(Box::new(item.example(variable))).optional(),
            Pattern::Map(value) => Type::Map(Box::new(value.example(variable))).optional(),
        }
    }

    /// Stands for an argument where there is none: in results, and for `null`.
    fn unfilled(&self) -> DataType {
        match self {
            Pattern::Exactly(ty) => ty.clone().required(),
            Pattern::Variable | Pattern::Any | Pattern::List(_) | Pattern::Map(_) => Type::Null.optional(),
        }
    }
}

/// Whether unifying needs no widening of an int.
fn same_kind(a: &Type, b: &Type) -> bool {
    a == b || *a == Type::Null || *b == Type::Null || !(a.is_numeric() && b.is_numeric())
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pattern::Exactly(ty) => write!(f, "{ty}"),
            Pattern::Variable => f.write_str("T"),
            Pattern::Any => f.write_str("any"),
            Pattern::List(item) => write!(f, "[{item}]"),
            Pattern::Map(value) => write!(f, "{{str: {value}}}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND: &str = "round(x: int) -> int\nround(x: float, digits: int?) -> float";

    #[test]
    fn the_overload_that_needs_no_widening_wins() {
        let int = resolve("round", ROUND, &[Type::Int.required()]).unwrap();
        assert_eq!(int.result, Type::Int.required());
        let float = resolve("round", ROUND, &[Type::Int.required(), Type::Int.optional()]).unwrap();
        assert_eq!(float.args, [Type::Float.required(), Type::Int.optional()]);
        assert_eq!(float.result, Type::Float.optional());
    }

    #[test]
    fn a_misfit_is_told_by_types() {
        let error = resolve("round", ROUND, &[Type::Str.required()]).unwrap_err();
        assert_eq!(error, "`round` takes (int) or (float, int?), not (str)");
    }

    #[test]
    fn a_variable_is_what_its_arguments_have_in_common() {
        let least = "least(x: T, y: T, ...) -> T where T: ordered";
        let found =
            resolve("least", least, &[Type::Int.required(), Type::Float.required(), Type::Null.optional()]).unwrap();
        assert_eq!(found.args[0], Type::Float.required());
        assert_eq!(found.result, Type::Float.optional());
        let list = Type::List(Box::new(Type::Int.required())).required();
        assert!(resolve("least", least, &[list.clone(), list.clone()]).is_err());
        let has = resolve("has", "has(list: [T], value: T) -> bool", &[list, Type::Float.required()]).unwrap();
        assert_eq!(has.args[0].ty, Type::List(Box::new(Type::Float.required())));
    }

    #[test]
    fn null_fits_everywhere() {
        let flatten = resolve("flatten", "flatten(lists: [[T]]) -> [T]", &[Type::Null.optional()]).unwrap();
        assert_eq!(flatten.result, Type::List(Box::new(Type::Null.optional())).optional());
    }
}
