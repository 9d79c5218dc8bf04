//! Money as a sum of decimal numbers, exact to the trillionth of a dollar: 0.1 + 0.2 is 0.3.

use std::fmt;

/// Decimal places kept. A model's price for one token is around 10^-7 dollars.
const PLACES: u32 = 12;
const UNIT: u128 = 10u128.pow(PLACES);
/// More than anybody's bill, and small enough to be exact as a double at that many places.
const MOST: f64 = 1e6;

/// An amount of US dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost(u128);

impl Cost {
    /// None for what is no amount: negative, not finite, or out of all reason.
    pub(super) fn of(dollars: f64) -> Option<Self> {
        (0.0..MOST).contains(&dollars).then(|| Cost((dollars * UNIT as f64).round() as u128))
    }

    pub(super) fn add(&mut self, more: Self) {
        self.0 = self.0.saturating_add(more.0);
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / UNIT, self.0 % UNIT);
        let fraction = format!("{fraction:0width$}", width = PLACES as usize);
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{whole}"),
            digits => write!(f, "{whole}.{digits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(parts: &[f64]) -> String {
        let mut total = Cost::default();
        parts.iter().for_each(|part| total.add(Cost::of(*part).unwrap()));
        total.to_string()
    }

    #[test]
    fn sums_have_no_float_noise() {
        assert_eq!(sum(&[0.1, 0.2]), "0.3");
        assert_eq!(sum(&[0.0004002, 0.00006]), "0.0004602");
        assert_eq!(sum(&[0.0000001; 10]), "0.000001");
        assert_eq!(sum(&[0.0123; 1000]), "12.3");
        assert_eq!(sum(&[]), "0");
        assert_eq!(sum(&[2.0]), "2");
    }

    #[test]
    fn nonsense_is_no_amount() {
        for wrong in [-0.1, f64::NAN, f64::INFINITY, 1e9] {
            assert_eq!(Cost::of(wrong), None);
        }
    }
}
