-- A project that is deleted has no name and no keys any more. Its row goes last: when all else of it is removed, and no event of
-- it can lie in a stream any more.
alter table projects
    alter column name drop not null,
    add column deleted_at timestamptz,
    add column removed_at timestamptz,
    add constraint projects_named check (name is not null or deleted_at is not null);
create index projects_deleted on projects (project_id) where deleted_at is not null;

-- Writers agree on which projects are deleted. Under a new name, so that writers of an earlier version, which would store events of
-- these, stop here and leave their messages to others.
drop function agree_in_lanes(int[], boolean);
create function agree(lanes int[], alone boolean)
returns table (users_generation bigint, promotions_generation bigint, events_from timestamptz, deleted_projects int[])
language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(hashtext('weir.write'));
    if alone then
        perform pg_advisory_xact_lock(hashtext('weir.copies'), lane) from unnest(lanes) as lane;
    else
        perform pg_advisory_xact_lock_shared(hashtext('weir.copies'), lane) from unnest(lanes) as lane;
    end if;
    -- A statement of its own: it sees what was committed while this waited.
    return query
        select upkeep.users_generation, upkeep.promotions_generation, upkeep.events_from,
               array(select project_id from projects where deleted_at is not null)
        from upkeep;
end
$$;
