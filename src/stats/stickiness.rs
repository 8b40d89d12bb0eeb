//! Stickiness: how many users were active on exactly *n* days?

use roaring::{MultiOps, RoaringBitmap};

use super::DailyUsers;

/// The users who were active on exactly *n* of the days, for each *n* from 1 to `days`.
pub fn stickiness(users: &DailyUsers, days: usize) -> Vec<RoaringBitmap> {
    // The numbers of days of all users in binary: for each digit the users whose number has a one there. A day adds one to
    // the numbers of its users.
    let mut digits: Vec<RoaringBitmap> = Vec::new();
    for active in users.values() {
        let mut carry = active.clone();
        for digit in &mut digits {
            let next = &*digit & &carry;
            *digit ^= carry;
            carry = next;
        }
        if !carry.is_empty() {
            digits.push(carry);
        }
    }
    let mut groups = vec![RoaringBitmap::new(); days];
    split(digits.iter().union(), 0, &digits, &mut groups);
    groups
}

/// Puts users, who have the higher digits of `number` in common, into groups by their lower ones.
fn split(users: RoaringBitmap, number: usize, digits: &[RoaringBitmap], groups: &mut [RoaringBitmap]) {
    if users.is_empty() {
        return;
    }
    if let Some((highest, lower)) = digits.split_last() {
        split(&users & highest, number + (1 << lower.len()), lower, groups);
        split(users - highest, number, lower, groups);
    } else if let Some(group) = number.checked_sub(1).and_then(|index| groups.get_mut(index)) {
        *group = users;
    }
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
