//! The `Date` line of an answer: a time as HTTP writes it.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// The days of the week, from Thursday on: 1 January 1970 was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const SECONDS_A_DAY: u64 = 24 * 60 * 60;

/// Writes `time` as in "Sun, 06 Nov 1994 08:49:37 GMT". A time before 1970 counts as the beginning
/// of 1970.
pub(crate) fn http_date(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let second = seconds % SECONDS_A_DAY;
    let days = usize::try_from(seconds / SECONDS_A_DAY).unwrap_or(0);
    let weekday = WEEKDAYS[days % WEEKDAYS.len()];
    let (mut year, mut day) = (1970, days);
    while day >= days_of_year(year) {
        day -= days_of_year(year);
        year += 1;
    }
    let mut month = 0;
    while day >= days_of_month(year, month) {
        day -= days_of_month(year, month);
        month += 1;
    }
    format!(
        "{weekday}, {:02} {} {year} {:02}:{:02}:{:02} GMT",
        day + 1,
        MONTHS[month],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

fn is_leap_year(year: usize) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of_year(year: usize) -> usize {
    365 + usize::from(is_leap_year(year))
}

/// The months count from 0.
fn days_of_month(year: usize, month: usize) -> usize {
    match month {
        1 => 28 + usize::from(is_leap_year(year)),
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}
