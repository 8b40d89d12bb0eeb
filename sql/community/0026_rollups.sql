-- Activity in hours and days on the Community edition: continuous aggregates, the daily one on top of the hourly one.
-- They are real-time: what is above the watermark is added from the deltas, which this edition keeps. Readers and jobs
-- find the same names on both editions.
--
-- The procedures are called by one worker at a time: all of them hold the lock of the roll-up. What they change in
-- activity, the next roll-up brings into the aggregates.

create materialized view activity_hourly
with (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) as
select project_id, event_type, value_no, time_bucket('1 hour', local_hour) as local_hour,
       rb_or_agg(users) as users, sum(events)::bigint as events
from activity
group by project_id, event_type, value_no, time_bucket('1 hour', local_hour)
with no data;
comment on view activity_hourly is
    'Activity by hour. Merge rows of the same hour: on the Apache edition there may be several.';

create materialized view activity_daily
with (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) as
select project_id, event_type, value_no, time_bucket('1 day', local_hour) as local_day,
       rb_or_agg(users) as users, sum(events)::bigint as events
from activity_hourly
group by project_id, event_type, value_no, time_bucket('1 day', local_hour)
with no data;
comment on view activity_daily is
    'Activity by day. Merge rows of the same day: on the Apache edition there may be several.';

-- In this order, so that a question about no value does not pass over the rows of all of them.
create index on activity_hourly (project_id, event_type, value_no, local_hour);
create index on activity_daily (project_id, event_type, value_no, local_day);

-- It commits in between, so it is called outside of a transaction.
create procedure roll_up(horizon timestamp) language plpgsql as $$
begin
    call merge_deltas(horizon);
    commit;
    -- In one pass: newer versions would refresh the latest buckets first and move the watermark with them, and what
    -- lies before would be invisible until its turn. Older versions know no options and have always one pass.
    if exists (select from pg_proc where proname = 'refresh_continuous_aggregate' and 'options' = any(proargnames)) then
        call refresh_continuous_aggregate('activity_hourly', null, horizon, options => '{"buckets_per_batch": 0}');
        call refresh_continuous_aggregate('activity_daily', null, horizon, options => '{"buckets_per_batch": 0}');
    else
        call refresh_continuous_aggregate('activity_hourly', null, horizon);
        call refresh_continuous_aggregate('activity_daily', null, horizon);
    end if;
end
$$;
comment on procedure roll_up(timestamp) is
    'Refreshes what changed before horizon: a row that arrives below the watermark is invisible until then. Later '
    'hours stay deltas, which merge in place.';

create procedure remove_users(of_project int, gone roaringbitmap) language plpgsql as $$
begin
    update activity set users = rb_andnot(users, gone) where project_id = of_project and users && gone;
end
$$;
comment on procedure remove_users(int, roaringbitmap) is 'Takes users out of every bitmap of a project.';

create procedure merge_users(of_project int, from_nos int[], into_nos int[]) language plpgsql as $$
declare
    gone roaringbitmap := rb_build(from_nos);
begin
    update activity set users = merge_bits(users, gone, from_nos, into_nos) where project_id = of_project and users && gone;
end
$$;
comment on procedure merge_users(int, int[], int[]) is
    'Replaces users in every bitmap of a project. from_nos ascend, as merge_bits asks for.';

create procedure remove_values(of_project int, gone int[], day timestamp) language plpgsql as $$
begin
    delete from activity
    where project_id = of_project and value_no = any(gone)
      and (day is null or local_hour >= day and local_hour < day + interval '1 day');
end
$$;
comment on procedure remove_values(int, int[], timestamp) is
    'Removes the rows of values: those of one day, or all if day is null.';

create procedure remove_day(of_project int, day timestamp) language plpgsql as $$
begin
    delete from activity where project_id = of_project and local_hour >= day and local_hour < day + interval '1 day';
end
$$;
comment on procedure remove_day(int, timestamp) is 'Removes the rows of a day.';

create procedure remove_activity(of_project int) language plpgsql as $$
begin
    delete from activity where project_id = of_project;
end
$$;
comment on procedure remove_activity(int) is 'Removes all activity of a project.';
