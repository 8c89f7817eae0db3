//! Which input each event type is read from, and what its rows look like.
//!
//! A type with `.from(Connector)` is read from there. Otherwise it is read from the inputs of the
//! command line: those that name it, or else all that name no type; without any, from stdin. All types
//! that are read from one input share one scan of it. A type that is not declared gets its fields from
//! a sample of its inputs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::connector::spec::{FileFormat, Input, OnError, TimeUnit};
use crate::data::{DataType, Field, Schema, Type};
use crate::diagnostic::{Diagnostic, Span, codes, nearest};
use crate::expr::{Expr, add_columns, remap};
use crate::sema::arguments::Constants;
use crate::sema::connector::{Connector, Connectors};
use crate::sema::globals::Globals;
use crate::sema::hir::{EventType, Scan, ScanId, TimedType, TypeId};
use crate::sema::row::Row;
use crate::sema::typer::{Place, Typer};
use crate::sema::types::Event;
use crate::syntax::ast::{Arg, ExprKind, Name};

/// An input of the command line: `-i [TYPE=]PATH`.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandInput {
    /// The type that all its rows have.
    pub type_name: Option<String>,
    /// As the report calls it.
    pub name: String,
    pub input: Input,
}

/// A file as a connector of the program names it.
#[derive(Clone, Debug, PartialEq)]
pub struct FileRequest {
    /// A path or a glob.
    pub path: String,
    pub format: Option<FileFormat>,
    pub follow: bool,
    pub time_unit: Option<TimeUnit>,
}

/// What a sample of an input says of one type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampledType {
    pub name: String,
    pub schema: Schema,
    pub time_units: Vec<Option<TimeUnit>>,
    /// The field that is the event time.
    pub event_time: Option<usize>,
}

/// The outside world, as far as the compiler looks at it.
///
/// # Contract
/// Both give the same answer when they are asked again during one compilation. Errors are sentences
/// for a diagnostic: lower case, without a full stop.
pub trait Surroundings {
    /// The files behind a connector's path, and how they are read.
    fn open(&mut self, request: &FileRequest) -> Result<Input, String>;

    /// The types among the rows of `input`, which the report calls `name`. `types` are those that the program reads from it without
    /// declaring them: a row that names no type is taken for the only one of them.
    fn sample(&mut self, name: &str, input: &Input, types: &[String]) -> Result<Vec<SampledType>, String>;
}

/// Something is wrong, and is among the findings.
struct Reported;

/// Event types and scans as streams come to need them.
pub struct InputTable<'e, 'a> {
    globals: &'e Globals<'a>,
    connectors: &'e Connectors,
    given: &'e [CommandInput],
    surroundings: &'e mut dyn Surroundings,
    /// What malformed rows become where the program does not say.
    on_error: OnError,
    /// Types that streams read and nobody declares.
    undeclared: Vec<String>,
    pub types: Vec<EventType>,
    pub scans: Vec<Scan>,
    /// Scans of the command line's inputs, by their position there; stdin is position 0 of none.
    command_scans: BTreeMap<usize, ScanId>,
    connector_scans: Vec<(Connector, ScanId)>,
    samples: BTreeMap<ScanId, Result<Vec<SampledType>, String>>,
    /// By name and scans; `None`: wrong, and reported.
    known: BTreeMap<(String, Vec<ScanId>), Option<TypeId>>,
}

impl<'e, 'a> InputTable<'e, 'a> {
    pub fn new(
        globals: &'e Globals<'a>,
        connectors: &'e Connectors,
        given: &'e [CommandInput],
        surroundings: &'e mut dyn Surroundings,
        on_error: OnError,
        undeclared: BTreeSet<String>,
    ) -> InputTable<'e, 'a> {
        InputTable {
            globals,
            connectors,
            given,
            surroundings,
            on_error,
            undeclared: undeclared.into_iter().collect(),
            types: Vec::new(),
            scans: Vec::new(),
            command_scans: BTreeMap::new(),
            connector_scans: Vec::new(),
            samples: BTreeMap::new(),
            known: BTreeMap::new(),
        }
    }

    /// The type `name` as it is read from its inputs, or through the connector that `from` names.
    pub fn read(
        &mut self,
        name: &Name,
        from: Option<&[Arg]>,
        findings: &mut Vec<Diagnostic>,
    ) -> Option<(TypeId, Vec<ScanId>)> {
        let declared = self.globals.types.is_event(&name.text);
        if declared {
            self.globals.types.event(&name.text, findings)?;
        }
        let scans = match from {
            Some(args) => vec![self.connector_scan(args, name.span, findings)?],
            None => self.scans_of(&name.text),
        };
        if scans.is_empty() {
            let message = format!("no input gives rows of `{}`", name.text);
            let found = Diagnostic::error(codes::NO_INPUT, name.span, message);
            findings.push(found.with_hint(format!("`-i {}=PATH` would", name.text)));
            return None;
        }
        let key = (name.text.clone(), scans.clone());
        if let Some(known) = self.known.get(&key) {
            return known.map(|ty| (ty, scans));
        }
        let ty = if declared { self.declared_type(name, findings) } else { self.sampled_type(name, &scans, findings) };
        let id = ty.map(|ty| {
            self.types.push(ty);
            self.types.len() - 1
        });
        self.known.insert(key, id);
        id.map(|ty| (ty, scans))
    }

    /// The command line's inputs that no stream came to read.
    pub fn unused(&self) -> impl Iterator<Item = &CommandInput> {
        self.given.iter().enumerate().filter(|(i, _)| !self.command_scans.contains_key(i)).map(|(_, input)| input)
    }

    /// Notes for inputs that may have rows of any type which types are declared, when all inputs are known.
    pub fn note_timed(&mut self, findings: &mut Vec<Diagnostic>) {
        let names: Vec<String> = self.globals.types.event_names().map(str::to_string).collect();
        let of_any = |position: &usize| self.given.get(*position).is_none_or(|input| input.type_name.is_none());
        let scans: Vec<ScanId> = self.command_scans.iter().filter(|(p, _)| of_any(p)).map(|(_, scan)| *scan).collect();
        if scans.is_empty() {
            return;
        }
        let timed: Vec<TimedType> = names.iter().filter_map(|name| self.timed_type(name, findings)).collect();
        scans.into_iter().for_each(|scan| self.scans[scan].timed.clone_from(&timed));
    }

    /// `None` for a type without an event time, or one that is wrong.
    fn timed_type(&self, name: &str, findings: &mut Vec<Diagnostic>) -> Option<TimedType> {
        let is_wrong = |((known, _), ty): (&(String, Vec<ScanId>), &Option<TypeId>)| known == name && ty.is_none();
        if self.known.iter().any(is_wrong) {
            return None;
        }
        let event = self.globals.types.event(name, findings)?;
        let time = self.event_time(&event, findings).ok()??;
        let mut read = BTreeSet::new();
        add_columns(&time, &mut read);
        let read: Vec<usize> = read.into_iter().collect();
        let schema = Schema::new(read.iter().map(|i| event.schema.fields[*i].clone()).collect());
        let time = remap(time, &|i| read.iter().position(|r| *r == i).expect("the column was noted"));
        let declared = event.schema.fields.iter().map(|field| field.name.clone()).collect();
        let time_units = vec![None; schema.len()];
        let ty = EventType { name: event.name, schema, time: Some(time), time_units, sampled: false };
        Some(TimedType { ty, declared })
    }

    fn scans_of(&mut self, ty: &str) -> Vec<ScanId> {
        let named = |i: &CommandInput| i.type_name.as_deref() == Some(ty);
        let any_named = self.given.iter().any(named);
        let given = self.given;
        let chosen = given.iter().enumerate().filter(|(_, i)| if any_named { named(i) } else { i.type_name.is_none() });
        let mut scans: Vec<ScanId> = Vec::new();
        for (position, input) in chosen {
            scans.push(self.command_scan(position, input.name.clone(), input.input.clone()));
        }
        if given.is_empty() {
            let stdin = Input::Stdin { format: FileFormat::Jsonl, time_unit: None };
            scans.push(self.command_scan(0, "stdin".to_string(), stdin));
        }
        scans
    }

    fn command_scan(&mut self, position: usize, name: String, input: Input) -> ScanId {
        if let Some(scan) = self.command_scans.get(&position) {
            return *scan;
        }
        self.scans.push(Scan { name, input, on_error: self.on_error, timed: Vec::new() });
        self.command_scans.insert(position, self.scans.len() - 1);
        self.scans.len() - 1
    }

    fn connector_scan(&mut self, args: &[Arg], span: Span, findings: &mut Vec<Diagnostic>) -> Option<ScanId> {
        let Some((Arg { name: None, value, .. }, options)) = args.split_first() else {
            let message = "`.from` needs a connector as its first argument";
            findings.push(Diagnostic::error(codes::BAD_OPERATOR_ARGUMENTS, span, message));
            return None;
        };
        let mut constants = Constants { globals: self.globals, findings };
        let (name, connector) = match &value.kind {
            ExprKind::Name(name) if self.globals.connectors.contains_key(name) => {
                let declared = self.connectors.get(name)?;
                (name.clone(), declared.with_options(options, value.span, &mut constants)?)
            }
            ExprKind::Name(name) => {
                findings.push(super::connector::unknown(name, value.span, self.globals));
                return None;
            }
            ExprKind::Call { function, args } => {
                let connector = Connector::inline(function, args, &mut constants)?;
                (connector.what(), connector.with_options(options, value.span, &mut constants)?)
            }
            _ => {
                let message = "`.from` needs a connector";
                let hint = "its name, or what it is, as in `.from(file(path: \"planes.csv\"))`";
                findings.push(Diagnostic::error(codes::BAD_OPERATOR_ARGUMENTS, value.span, message).with_hint(hint));
                return None;
            }
        };
        if let Some((_, scan)) = self.connector_scans.iter().find(|(c, _)| *c == connector) {
            return Some(*scan);
        }
        let (input, on_error) = self.open(&connector, value.span, findings)?;
        self.scans.push(Scan { name, input, on_error, timed: Vec::new() });
        self.connector_scans.push((connector, self.scans.len() - 1));
        Some(self.scans.len() - 1)
    }

    fn open(&mut self, connector: &Connector, span: Span, findings: &mut Vec<Diagnostic>) -> Option<(Input, OnError)> {
        match connector {
            Connector::File(options) => {
                if options.commit.is_some() {
                    let message = "`commit` is of a file that is written, and this one is read";
                    findings.push(Diagnostic::error(codes::WRONG_DIRECTION, span, message));
                    return None;
                }
                let format = options.read_format(findings)?;
                let Some(path) = options.path.clone() else {
                    findings.push(Diagnostic::error(codes::MISSING_OPTION, span, "the file needs `path:`"));
                    return None;
                };
                let request = FileRequest { path, format, follow: options.follow, time_unit: options.time_unit };
                match self.surroundings.open(&request) {
                    Ok(input) => Some((input, options.on_error.unwrap_or(self.on_error))),
                    Err(reason) => {
                        findings.push(Diagnostic::error(codes::BAD_OPTION, span, reason));
                        None
                    }
                }
            }
            Connector::Stdin(options) => {
                let format = options.read_format(findings)?.unwrap_or(FileFormat::Jsonl);
                let input = Input::Stdin { format, time_unit: options.time_unit };
                Some((input, options.on_error.unwrap_or(self.on_error)))
            }
            Connector::Generator { kind, rate_per_s, limit, seed } => {
                let input = Input::Generator { kind: *kind, rate_per_s: *rate_per_s, limit: *limit, seed: *seed };
                Some((input, self.on_error))
            }
            Connector::Stdout { .. } => {
                let message = "this connector can be written, not read";
                findings.push(Diagnostic::error(codes::WRONG_DIRECTION, span, message));
                None
            }
        }
    }

    fn declared_type(&mut self, name: &Name, findings: &mut Vec<Diagnostic>) -> Option<EventType> {
        let event = self.globals.types.event(&name.text, findings)?;
        let time = self.event_time(&event, findings).ok()?;
        let time_units = vec![None; event.schema.len()];
        Some(EventType { name: event.name, schema: event.schema, time, time_units, sampled: false })
    }

    /// The event time of a declared type's rows, if they have one.
    fn event_time(&self, event: &Event<'a>, findings: &mut Vec<Diagnostic>) -> Result<Option<Expr>, Reported> {
        let Some(written) = event.time else { return Ok(first_timestamp(&event.schema)) };
        let row = Row::new(event.schema.clone());
        let typed = Typer::new(self.globals, Place::Row(&row), findings).expr(written).ok_or(Reported)?;
        let ty = typed.data_type();
        if ty.ty != Type::Timestamp {
            let message = format!("the event time is a timestamp, not {ty}");
            findings.push(Diagnostic::error(codes::BAD_EVENT_TIME, written.span, message));
            return Err(Reported);
        }
        Ok(Some(typed))
    }

    fn sampled_type(&mut self, name: &Name, scans: &[ScanId], findings: &mut Vec<Diagnostic>) -> Option<EventType> {
        let mut found: Option<SampledType> = None;
        let mut seen: Vec<String> = Vec::new();
        for scan in scans {
            let sample = match self.sample(*scan) {
                Ok(sample) => sample,
                Err(reason) => {
                    findings.push(self.not_sampled(name, &reason));
                    return None;
                }
            };
            seen.extend(sample.iter().map(|t| t.name.clone()));
            let Some(ty) = sample.into_iter().find(|t| t.name == name.text) else { continue };
            found = match found {
                None => Some(ty),
                Some(before) => match union(before, ty) {
                    Some(both) => Some(both),
                    None => {
                        let message = format!("the inputs disagree on the fields of `{}`", name.text);
                        let hint = "declare it with `event`";
                        findings.push(Diagnostic::error(codes::UNDECLARED_TYPE, name.span, message).with_hint(hint));
                        return None;
                    }
                },
            };
        }
        let Some(SampledType { schema, time_units, event_time, .. }) = found else {
            findings.push(self.not_found(name, &seen));
            return None;
        };
        let time = event_time.map(|i| Expr::column(i, schema.fields[i].data_type.clone()));
        Some(EventType { name: name.text.clone(), schema, time, time_units, sampled: true })
    }

    /// Nothing tells what a type is; `seen` are the types of the inputs.
    fn not_found(&self, name: &Name, seen: &[String]) -> Diagnostic {
        let message = format!("there is no event type or stream `{}`", name.text);
        let found = Diagnostic::error(codes::UNKNOWN_SOURCE, name.span, message);
        match (self.nearest_source(&name.text, seen), seen) {
            (Some(near), _) => found.with_hint(format!("did you mean `{near}`?")),
            (None, []) => found.with_hint("declare it with `event`"),
            (None, seen) => found.with_hint(format!("the input has rows of {}", seen.join(", "))),
        }
    }

    fn not_sampled(&self, name: &Name, reason: &str) -> Diagnostic {
        if self.nearest_source(&name.text, &[]).is_some() {
            return self.not_found(name, &[]);
        }
        let message = format!("`{}` is not declared, and {reason}", name.text);
        let found = Diagnostic::error(codes::UNDECLARED_TYPE, name.span, message);
        found.with_hint("declare it with `event`, or give an input with `-i`")
    }

    fn nearest_source<'n>(&'n self, name: &str, seen: &'n [String]) -> Option<&'n str> {
        let streams = self.globals.streams.iter().map(|s| s.name.text.as_str());
        let patterns = self.globals.patterns.iter().map(|p| p.name.text.as_str());
        nearest(
            name,
            self.globals.types.event_names().chain(streams).chain(patterns).chain(seen.iter().map(String::as_str)),
        )
    }

    fn sample(&mut self, scan: ScanId) -> Result<Vec<SampledType>, String> {
        if let Some(sample) = self.samples.get(&scan) {
            return sample.clone();
        }
        let asked = self.undeclared_of(scan);
        let Scan { name, input, .. } = &self.scans[scan];
        let sample = self.surroundings.sample(name, input, &asked);
        self.samples.insert(scan, sample.clone());
        sample
    }

    /// The undeclared types that are, or may be, read from a scan. An input that is given for one has none but that one.
    fn undeclared_of(&self, scan: ScanId) -> Vec<String> {
        let position = self.command_scans.iter().find(|(_, of)| **of == scan).map(|(position, _)| *position);
        if let Some(CommandInput { type_name: Some(name), .. }) = position.and_then(|position| self.given.get(position))
        {
            return vec![name.clone()];
        }
        let is_given = |name: &&String| self.given.iter().any(|input| input.type_name.as_ref() == Some(*name));
        self.undeclared.iter().filter(|name| !is_given(name)).cloned().collect()
    }

    /// Whether rows of the scan bring their own time with them.
    pub fn has_format_time(&self, scan: ScanId) -> bool {
        match &self.scans[scan].input {
            Input::Files { format, .. } | Input::Stdin { format, .. } | Input::Follow { format, .. } => {
                *format == FileFormat::Evt
            }
            Input::Generator { .. } => false,
        }
    }
}

fn first_timestamp(schema: &Schema) -> Option<Expr> {
    let index = schema.fields.iter().position(|f| f.data_type.ty == Type::Timestamp)?;
    Some(Expr::column(index, schema.fields[index].data_type.clone()))
}

/// Two samples of one type: the fields of both, those that one lacks nullable.
fn union(a: SampledType, b: SampledType) -> Option<SampledType> {
    let record = |s: &Schema| DataType { ty: Type::Record(s.fields.clone().into()), nullable: false };
    let unified = record(&a.schema).unify(&record(&b.schema))?;
    let Type::Record(fields) = unified.ty else { return None };
    let schema = Schema::new(fields.to_vec());
    let unit = |f: &Field| {
        let of = |t: &SampledType| t.schema.index_of(&f.name).and_then(|i| t.time_units[i]);
        of(&a).or(of(&b))
    };
    let time_units = schema.fields.iter().map(unit).collect();
    let time_field = |t: &SampledType| t.event_time.map(|i| t.schema.fields[i].name.clone());
    let event_time = time_field(&a).or(time_field(&b)).and_then(|n| schema.index_of(&n));
    Some(SampledType { name: a.name, schema, time_units, event_time })
}
