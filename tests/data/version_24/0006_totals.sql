-- Activity of all event types together: rows whose event type is '', which no event has. A writer adds them beside those
-- of each type, so who was active on a day is one row, whatever the number of types.
insert into activity (project_id, event_type, local_hour, users, events)
select project_id, '', local_hour, rb_or_agg(users), sum(events)
from activity_hourly
group by project_id, local_hour;

-- Under a new name, so that writers of an earlier version, which add none, stop here and leave their messages to others.
alter function begin_write rename to begin_writing;

-- In this order it serves each type and all of a project alike.
drop index activity_of_project;
create index activity_of_series on activity (project_id, event_type, local_hour);

-- Merges the deltas of an hour in place: when they are many enough to slow a reader, and when the hour is quiet, which most
-- are for good. One caller at a time.
alter table activity add column written_at timestamptz not null default now();
create procedure merge_deltas(since timestamp) language sql as $$
    with many as (
        select project_id, event_type, local_hour
        from activity
        where local_hour >= since
        group by project_id, event_type, local_hour
        having count(*) >= 64 or count(*) > 1 and max(written_at) < now() - interval '1 minute'
    ), merging as (
        delete from activity using many
        where activity.project_id = many.project_id
          and activity.event_type = many.event_type
          and activity.local_hour = many.local_hour
        returning activity.*
    )
    insert into activity (project_id, event_type, local_hour, users, events)
    select project_id, event_type, local_hour, rb_or_agg(users), sum(events)
    from merging
    group by project_id, event_type, local_hour
$$;
