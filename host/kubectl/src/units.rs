//! Ages, durations and money, as they are shown.
//!
//! May touch: numbers and text. Must not touch: a clock.

use jiff::{SignedDuration, Timestamp};

/// How old something is, as kubectl says it: `5s`, `3m20s`, `17m`, `5h12m`, `20h`, `3d4h`, `12d`.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    short(now.duration_since(since))
}

/// A duration with as much of it as one wants to read.
pub(crate) fn short(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |whole: i64, unit: char, part: i64, smaller: char| match part {
        0 => format!("{whole}{unit}"),
        part => format!("{whole}{unit}{part}{smaller}"),
    };
    match seconds {
        ..120 => format!("{seconds}s"),
        120..600 => two(minutes, 'm', seconds % 60, 's'),
        600..10800 => format!("{minutes}m"),
        10800..28800 => two(hours, 'h', minutes % 60, 'm'),
        28800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, 'd', hours % 24, 'h'),
        _ => format!("{days}d"),
    }
}

/// An amount of US dollars, exactly: in billionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Dollars(u128);

const BILLIONTHS: u128 = 1_000_000_000;

impl Dollars {
    /// Reads `costUSD`, a plain decimal number; `None` where it is none.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() > 12 || !is_number(whole) || !is_number(fraction) {
            return None;
        }
        let fraction: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
        Some(Self(whole.parse::<u128>().ok()? * BILLIONTHS + fraction.parse::<u128>().ok()?))
    }

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// To a hundredth of a cent, rounded up, so that nothing that was spent is shown as nothing.
    pub(crate) fn shown(self) -> String {
        let parts = self.0.div_ceil(BILLIONTHS / 10_000);
        format!("${}.{:04}", parts / 10_000, parts % 10_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_kubectls() {
        for (seconds, text) in [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (1020, "17m"),
            (18_720, "5h12m"),
            (72_000, "20h"),
            (273_600, "3d4h"),
            (1_036_800, "12d"),
        ] {
            assert_eq!(short(SignedDuration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn money_is_added_exactly() {
        let sum = ["0.0123", "12", "0.000000001"].map(|text| Dollars::read(text).unwrap());
        let sum = sum.into_iter().fold(Dollars::default(), Dollars::and);
        assert_eq!(sum, Dollars(12_012_300_001));
        assert_eq!(sum.shown(), "$12.0124");
        assert_eq!(Dollars::default().shown(), "$0.0000");
        for wrong in ["", "-1", "1e3", ".5", "1.2.3", "9999999999999"] {
            assert_eq!(Dollars::read(wrong), None, "{wrong}");
        }
    }
}
