//! Writes random tables of what can be read, and streams that read them or look up in them.

use super::{Chain, Field, Readable, SCALARS, Ty, Writer, literal};

/// A table that was declared.
#[derive(Clone, Debug)]
pub struct Table {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
    /// Of the parts of its key.
    pub(super) key: Vec<Ty>,
    /// Whether rows may come too late for it, and which.
    pub(super) late: Option<Vec<Field>>,
}

const KEYS: [Ty; 5] = [Ty::Int, Ty::Str, Ty::Str, Ty::Float, Ty::Bool];

impl Writer {
    /// The declaration of a table, which later streams may use.
    pub(super) fn table(&mut self) -> String {
        let Readable { name, fields, watermarked, .. } = self.random.pick(&self.readable).clone();
        let mut chain = Chain { text: name, fields, watermarked, late: None, in_window: false, aggregated: false };
        if chain.watermarked && self.random.chance(40) {
            let by = self.length(&["0s", "1s", "5s", "unbounded"], &["0s", "5h", "unbounded"]);
            chain.text += &format!("\n    .watermark(out_of_order: {by})");
        }
        if self.random.chance(25) {
            let condition = self.expr(&chain, Ty::Bool, 1);
            chain.text += &format!("\n    .where({condition})");
        }
        if self.random.chance(25) {
            self.select(&mut chain);
        }
        let key: Vec<Ty> = (0..1 + self.random.below(2)).map(|_| *self.random.pick(&KEYS)).collect();
        let parts: Vec<String> = key.iter().map(|ty| self.expr(&chain, *ty, 1)).collect();
        chain.text += &format!("\n    .key({})", parts.join(", "));
        if self.random.chance(50) {
            let condition = self.expr(&chain, Ty::Bool, 1);
            chain.text += &format!("\n    .delete(when: {condition})");
        }
        let late = self.random.chance(30).then(|| chain.fields.clone());
        if late.is_some() {
            let by = self.length(&["0s", "1s", "5s", "20s"], &["0s", "5h", "1d"]);
            chain.text += &format!("\n    .allowed_lateness({by})");
        }
        let name = format!("T{}", self.tables.len());
        let text = format!("table {name} = {}\n", chain.text);
        self.tables.push(Table { name, fields: chain.fields, key, late });
        text
    }

    /// A chain that begins with what a table tells.
    pub(super) fn of_table(&mut self) -> Chain {
        let Table { name, mut fields, late, .. } = self.random.pick(&self.tables).clone();
        let chain =
            |text, fields| Chain { text, fields, watermarked: false, late: None, in_window: false, aggregated: false };
        let named = |name: &str, ty| Field { name: name.to_string(), ty, nullable: false };
        match (self.random.below(6), late) {
            (0, Some(late)) => chain(format!("{name}.late()"), late),
            (0..=2, _) => {
                fields.push(named("op", Ty::Str));
                chain(format!("{name}.changes()"), fields)
            }
            (3, _) => {
                fields.push(named("diff", Ty::Int));
                chain(format!("{name}.changes(diff: true)"), fields)
            }
            (_, _) => chain(format!("{name}.snapshot()"), fields),
        }
    }

    /// A lookup of the chain's rows in a table.
    pub(super) fn enrich(&mut self, chain: &mut Chain) {
        let Table { name, fields, key, .. } = self.random.pick(&self.tables).clone();
        let on: Vec<String> = key.iter().map(|ty| self.looked_up(chain, *ty)).collect();
        let on = if on.len() == 1 { on[0].clone() } else { format!("[{}]", on.join(", ")) };
        let (mut chosen, mut defaults) = (Vec::new(), Vec::new());
        for field in fields {
            if self.random.chance(60) {
                let own = self.name();
                chosen.push(format!("\"{own}\": {}", field.name));
                if field.ty != Ty::List && field.ty != Ty::Timestamp && self.random.chance(30) {
                    defaults.push(format!("\"{own}\": {}", literal(&mut self.random, field.ty)));
                }
                chain.fields.push(Field { name: own, nullable: true, ..field });
            }
        }
        let mut options = format!("on: {on}, fields: {{{}}}", chosen.join(", "));
        if self.random.chance(30) {
            options += ", required: true";
        } else if !defaults.is_empty() {
            options += &format!(", default: {{{}}}", defaults.join(", "));
        }
        chain.text += &format!("\n    .enrich({name}, {options})");
        chain.watermarked = false;
    }

    /// A value that may be a key of the table: mostly a field, now and then of a type that is widened.
    fn looked_up(&mut self, chain: &Chain, ty: Ty) -> String {
        let ty = if ty == Ty::Float && self.random.chance(30) { Ty::Int } else { ty };
        debug_assert!(SCALARS.contains(&ty));
        self.expr(chain, ty, 1)
    }
}
