//! Sampled types across runs: a run that continues goes by what the first one found in its inputs, and
//! looks at them again only for types that the program did not use then. Otherwise a file that has grown
//! or changed would make it another program.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::connector::spec::Input;
use crate::sema::inputs::{FileRequest, SampledType, Surroundings};

/// What samples have shown, by input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Samples(BTreeMap<String, Sample>);

/// What a sample of one input has shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sample {
    /// The types that were looked for, whether or not the input had rows of them.
    asked: Vec<String>,
    found: Vec<SampledType>,
}

impl Samples {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// From the record of a checkpoint. What another version wrote and this one cannot read is sampled
    /// again; that may make it another program, and is compared like one.
    pub fn of_record(samples: &serde_json::Value) -> Samples {
        serde_json::from_value(samples.clone()).unwrap_or_default()
    }
}

/// Surroundings that go by what was found before.
pub struct Remembering<'s, S> {
    outside: S,
    known: &'s Samples,
    /// What this compilation used, for the next run.
    pub used: Samples,
    /// Inputs of each name, in the order in which they were asked for.
    named: BTreeMap<String, Vec<Input>>,
}

impl<'s, S: Surroundings> Remembering<'s, S> {
    pub fn new(outside: S, known: &'s Samples) -> Remembering<'s, S> {
        Remembering { outside, known, used: Samples::default(), named: BTreeMap::new() }
    }

    /// What the input is remembered as: by its name, since its files may become more.
    fn key(&mut self, name: &str, input: &Input) -> String {
        let namesakes = self.named.entry(name.to_string()).or_default();
        let place = namesakes.iter().position(|known| known == input).unwrap_or_else(|| {
            namesakes.push(input.clone());
            namesakes.len() - 1
        });
        if place == 0 { name.to_string() } else { format!("{name}#{}", place + 1) }
    }
}

impl<S: Surroundings> Surroundings for Remembering<'_, S> {
    fn open(&mut self, request: &FileRequest) -> Result<Input, String> {
        self.outside.open(request)
    }

    fn sample(&mut self, name: &str, input: &Input, types: &[String]) -> Result<Vec<SampledType>, String> {
        let key = self.key(name, input);
        let mut sample = self.known.0.get(&key).cloned().unwrap_or_default();
        let new = |sample: &Sample, ty: &String| !sample.asked.contains(ty);
        if types.iter().any(|ty| new(&sample, ty)) {
            let found = self.outside.sample(name, input, types)?;
            sample.found.extend(found.into_iter().filter(|ty| !sample.asked.contains(&ty.name)));
            let asked: Vec<String> = types.iter().filter(|ty| new(&sample, ty)).cloned().collect();
            sample.asked.extend(asked);
        }
        let found = sample.found.iter().filter(|ty| types.contains(&ty.name)).cloned().collect();
        self.used.0.insert(key, sample);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::spec::FileFormat;
    use crate::data::{Field, Schema, Type};

    /// Every type has one field, whose name changes with time.
    struct Changing(&'static str);

    impl Surroundings for Changing {
        fn open(&mut self, request: &FileRequest) -> Result<Input, String> {
            Err(request.path.clone())
        }

        fn sample(&mut self, _: &str, _: &Input, types: &[String]) -> Result<Vec<SampledType>, String> {
            let schema = Schema::new(vec![Field::new(self.0, Type::Int.required())]);
            let sampled = |name: &String| SampledType {
                name: name.clone(),
                schema: schema.clone(),
                time_units: vec![None],
                event_time: None,
            };
            Ok(types.iter().map(sampled).collect())
        }
    }

    fn files(path: &str) -> Input {
        let paths = vec![path.to_string()];
        Input::Files { paths, format: FileFormat::Jsonl, compression: None, time_unit: None }
    }

    fn fields(found: Vec<SampledType>) -> Vec<(String, String)> {
        found.into_iter().map(|t| (t.name, t.schema.fields[0].name.clone())).collect()
    }

    #[test]
    fn what_was_found_stays_and_only_what_is_new_is_looked_for() {
        let types = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        let nothing = Samples::default();
        let mut first = Remembering::new(Changing("then"), &nothing);
        first.sample("logs", &files("a"), &types(&["A", "B"])).unwrap();
        let recorded = Samples::of_record(&serde_json::to_value(&first.used).unwrap());
        assert_eq!(recorded, first.used);
        let mut again = Remembering::new(Changing("now"), &recorded);
        let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
        let found = again.sample("logs", &files("a2"), &types(&["A"])).unwrap();
        assert_eq!(fields(found), [pair("A", "then")]);
        let found = again.sample("logs", &files("a2"), &types(&["A", "C"])).unwrap();
        assert_eq!(fields(found), [pair("A", "then"), pair("C", "now")]);
        let other = again.sample("logs", &files("b"), &types(&["A"])).unwrap();
        assert_eq!(fields(other), [pair("A", "now")]);
    }
}
