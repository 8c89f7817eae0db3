//! Writes random tables that follow from tables.

use super::table::Table;
use super::{Chain, Field, SCALARS, Ty, Writer};

impl Writer {
    /// The declaration of a table that follows from one that was declared, or from two.
    pub(super) fn derived_table(&mut self) -> String {
        let (mut chain, mut key) = if self.random.chance(50) { self.joined_tables() } else { self.one_table() };
        for _ in 0..self.random.below(3) {
            match self.random.below(6) {
                0 => {
                    let condition = self.expr(&chain, Ty::Bool, 1);
                    chain.text += &format!("\n    .where({condition})");
                }
                1 => self.select(&mut chain),
                2 | 3 => key = self.sums(&mut chain),
                4 => {
                    chain.text += "\n    .distinct()";
                    key = chain.fields.iter().map(|f| f.ty).collect();
                }
                _ => {
                    let by = *self.random.pick(&SCALARS);
                    let (n, by) = (1 + self.random.below(3), self.expr(&chain, by, 1));
                    let direction = *self.random.pick(&["", " asc", " desc"]);
                    let of = *self.random.pick(&SCALARS);
                    let of = self.expr(&chain, of, 1);
                    chain.text += &format!("\n    .partition_by({of})\n    .top({n}, by: {by}{direction})");
                }
            }
        }
        let name = format!("T{}", self.tables.len());
        let text = format!("table {name} = {}\n", chain.text);
        self.tables.push(Table { name, fields: chain.fields, key, late: None });
        text
    }

    fn one_table(&mut self) -> (Chain, Vec<Ty>) {
        let Table { name, fields, key, .. } = self.random.pick(&self.tables).clone();
        (chain(name, fields), key)
    }

    /// A join, whose fields get names of their own.
    fn joined_tables(&mut self) -> (Chain, Vec<Ty>) {
        let (left, right) = (self.random.pick(&self.tables).clone(), self.random.pick(&self.tables).clone());
        let side = |alias: &str, table: &Table| {
            let fields = table.fields.iter().map(|f| Field { name: format!("{alias}.{}", f.name), ..f.clone() });
            chain(String::new(), fields.collect())
        };
        let (l, r) = (side("l", &left), side("r", &right));
        let both = chain(String::new(), [l.fields.clone(), r.fields.clone()].concat());
        let is_equal = |a: &Field, b: &Field| a.ty == b.ty && SCALARS.contains(&a.ty);
        let equal =
            l.fields.iter().flat_map(|a| r.fields.iter().filter(|b| is_equal(a, b)).map(|b| (&a.name, &b.name)));
        let equal: Vec<String> = equal.map(|(a, b)| format!("{a} == {b}")).collect();
        if equal.is_empty() {
            return self.one_table();
        }
        let mut on = self.random.pick(&equal).clone();
        if self.random.chance(30) {
            on += &format!(" and {}", self.expr(&both, Ty::Bool, 1));
        }
        let kind = *self.random.pick(&["join", "join", "left_join", "right_join", "full_join"]);
        let mut text = format!("{kind}({} as l, {} as r on {on})", left.name, right.name);
        let mut fields = Vec::new();
        let named: Vec<String> = both
            .fields
            .iter()
            .map(|field| {
                let name = self.name();
                fields.push(Field { name: name.clone(), nullable: true, ..field.clone() });
                format!("{name}: {}", field.name)
            })
            .collect();
        text += &format!("\n    .select({})", named.join(", "));
        (chain(text, fields), [left.key, right.key].concat())
    }

    /// Aggregates that can take rows back; gives the new key.
    fn sums(&mut self, chain: &mut Chain) -> Vec<Ty> {
        let key: Vec<Ty> = (0..1 + self.random.below(2)).map(|_| *self.random.pick(&SCALARS)).collect();
        let parts: Vec<String> = key.iter().map(|ty| self.expr(chain, *ty, 1)).collect();
        chain.text += &format!("\n    .partition_by({})", parts.join(", "));
        let (mut fields, mut items) = (Vec::new(), Vec::new());
        for _ in 0..1 + self.random.below(3) {
            let name = self.name();
            let (e, ty) = self.sum(chain);
            items.push(format!("{name}: {e}"));
            fields.push(Field { name, ty, nullable: true });
        }
        chain.text += &format!("\n    .aggregate({})", items.join(", "));
        chain.fields = fields;
        key
    }

    fn sum(&mut self, chain: &Chain) -> (String, Ty) {
        let number = *self.random.pick(&[Ty::Int, Ty::Float, Ty::Duration]);
        let mean = if number == Ty::Duration { Ty::Duration } else { Ty::Float };
        let n = self.expr(chain, number, 1);
        let any = *self.random.pick(&SCALARS);
        match self.random.below(10) {
            0 | 1 => ("count()".to_string(), Ty::Int),
            2 => (format!("count({n})"), Ty::Int),
            3 => (format!("count_if({})", self.expr(chain, Ty::Bool, 1)), Ty::Int),
            4 => (format!("sum({n})"), number),
            5 => (format!("avg({n})"), mean),
            6 => (format!("min({})", self.expr(chain, any, 1)), any),
            7 => (format!("max({})", self.expr(chain, any, 1)), any),
            8 => (format!("variance({})", self.expr(chain, Ty::Float, 1)), Ty::Float),
            _ => {
                let of = *self.random.pick(&["any", "all"]);
                (format!("{of}({})", self.expr(chain, Ty::Bool, 1)), Ty::Bool)
            }
        }
    }
}

fn chain(text: String, fields: Vec<Field>) -> Chain {
    Chain { text, fields, watermarked: false, late: None, in_window: false, aggregated: false }
}
