-- A continuous aggregate cannot get a column, so both are made anew; until the next roll-up they are read from activity,
-- which this edition keeps.
drop materialized view activity_daily;
drop materialized view activity_hourly;

create materialized view activity_hourly
with (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) as
select project_id, event_type, value_no, time_bucket('1 hour', local_hour) as local_hour,
       rb_or_agg(users) as users, sum(events)::bigint as events
from activity
group by project_id, event_type, value_no, time_bucket('1 hour', local_hour)
with no data;

create materialized view activity_daily
with (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) as
select project_id, event_type, value_no, time_bucket('1 day', local_hour) as local_day,
       rb_or_agg(users) as users, sum(events)::bigint as events
from activity_hourly
group by project_id, event_type, value_no, time_bucket('1 day', local_hour)
with no data;

-- In this order, so that a question about no value does not pass over the rows of all of them.
create index on activity_hourly (project_id, event_type, value_no, local_hour);
create index on activity_daily (project_id, event_type, value_no, local_day);

-- Takes the rows of values out of activity: of one day, or of all if that is null. One caller at a time, and not while
-- activity is rolled up: the next roll-up brings it into the continuous aggregates.
create procedure remove_values(of_project int, gone int[], day timestamp) language plpgsql as $$
begin
    delete from activity
    where project_id = of_project and value_no = any(gone)
      and (day is null or local_hour >= day and local_hour < day + interval '1 day');
end
$$;
