-- The Community edition: continuous aggregates, the daily one on top of the hourly one. Real-time: what lies above
-- the watermark is added from the deltas.
create materialized view activity_hourly
with (timescaledb.continuous, timescaledb.materialized_only = false) as
select project_id, event_type, time_bucket('1 hour', local_hour) as local_hour,
       rb_or_agg(users) as users, sum(events)::bigint as events
from activity
group by project_id, event_type, time_bucket('1 hour', local_hour)
with no data;

create materialized view activity_daily
with (timescaledb.continuous, timescaledb.materialized_only = false) as
select project_id, event_type, time_bucket('1 day', local_hour) as local_day,
       rb_or_agg(users) as users, sum(events)::bigint as events
from activity_hourly
group by project_id, event_type, time_bucket('1 day', local_hour)
with no data;

-- Refreshes what changed before `horizon`: a row that arrives below the watermark is invisible until then. Later
-- hours stay real-time, and there deltas merge in place once they are many enough to slow a reader.
-- Called at top level (it commits in between), one caller at a time.
create procedure roll_up(horizon timestamp) language plpgsql as $$
begin
    with crowded as (
        select project_id, event_type, local_hour
        from activity
        where local_hour >= horizon
        group by project_id, event_type, local_hour
        having count(*) >= 64
    ), moved as (
        delete from activity using crowded
        where activity.project_id = crowded.project_id
          and activity.event_type = crowded.event_type
          and activity.local_hour = crowded.local_hour
        returning activity.*
    )
    insert into activity (project_id, event_type, local_hour, users, events)
    select project_id, event_type, local_hour, rb_or_agg(users), sum(events)
    from moved
    group by project_id, event_type, local_hour;
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
