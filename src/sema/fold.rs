//! Constant folding: an expression without columns is evaluated over one empty row, by the same
//! evaluator that runs the program.

use crate::data::Batch;
use crate::data::array::value_at;
use crate::expr::{Errors, Expr, evaluate};

/// The literal that a constant expression amounts to; any other expression comes back as it is. `Err`
/// holds a constant expression whose evaluation fails (overflow, division by zero).
pub fn fold(e: Expr) -> Result<Expr, Expr> {
    if matches!(e, Expr::Literal { .. }) || !is_constant(&e) {
        return Ok(e);
    }
    let batch = Batch { time: vec![0].into(), ..Batch::default() };
    let errors = Errors::default();
    let ty = e.data_type();
    let array = evaluate(&e, &batch, &errors);
    if errors.count() > 0 {
        return Err(e);
    }
    Ok(Expr::Literal { value: value_at(&array, &ty, 0), ty })
}

/// Whether the value is the same for every row.
pub fn is_constant(e: &Expr) -> bool {
    match e {
        Expr::Column { .. } | Expr::EventTime | Expr::Place => false,
        _ => {
            let mut constant = true;
            e.for_each_child(&mut |child| constant &= is_constant(child));
            constant
        }
    }
}
