//! Stickiness: how many users were active on exactly *n* days?

use roaring::RoaringBitmap;

use super::DailyUsers;

/// The users who were active on exactly *n* of the days, for each *n* from 1 to `days`.
pub fn stickiness(users: &DailyUsers, days: usize) -> Vec<RoaringBitmap> {
    // at_least[n]: active on more than n of the days that were looked at.
    let mut at_least = vec![RoaringBitmap::new(); days];
    for (seen, active) in users.values().enumerate() {
        // From the top: who moves up by this day must not move again.
        for n in (1..days.min(seen + 1)).rev() {
            let up = &at_least[n - 1] & active;
            at_least[n] |= up;
        }
        if let Some(any) = at_least.first_mut() {
            *any |= active;
        }
    }
    for n in 1..days {
        let (lower, higher) = at_least.split_at_mut(n);
        lower[n - 1] -= &higher[0];
    }
    at_least
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;

    #[test]
    fn each_user_stands_at_the_number_of_their_days() {
        let date = |day| NaiveDate::from_ymd_opt(2024, 2, day).expect("a date");
        // User 1 on three days, 2 on two of them, 3 and 4 on one.
        let users = DailyUsers::from([
            (date(1), [1, 2].into()),
            (date(2), [1, 3].into()),
            (date(4), [1, 2, 4].into()),
        ]);
        let expected: [RoaringBitmap; 4] = [[3, 4].into(), [2].into(), [1].into(), RoaringBitmap::new()];
        assert_eq!(stickiness(&users, 4), expected);
    }

    #[test]
    fn without_days_or_users_there_is_nobody() {
        assert!(stickiness(&DailyUsers::new(), 0).is_empty());
        assert_eq!(stickiness(&DailyUsers::new(), 2), [RoaringBitmap::new(), RoaringBitmap::new()]);
    }
}
