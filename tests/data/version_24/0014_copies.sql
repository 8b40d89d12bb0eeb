-- One id is one event, whatever its time. Where the filter cannot say that there is no other copy of an event, writers look
-- for one; these tables tell writers of other copies that they must look, too.

-- Ids that two requests had at a time, for as long as the other copy may lie in the stream.
create table contested_ids (
    project_id  int         not null references projects on delete cascade,
    event_id    uuid        not null,
    received_at timestamptz not null,
    primary key (project_id, event_id)
);

-- Projects of which events were taken without the filter: of what was received until then, copies may be stored of which
-- the filter knows nothing.
create table unfiltered_projects (
    project_id int         primary key references projects on delete cascade,
    until      timestamptz not null
);

-- Writers in whose events nothing is in doubt go side by side; who must look for copies in a lane of the stream goes there
-- alone, and sees all that was stored before. Under a new name, so that writers of an earlier version, which look for
-- nothing, stop here and leave their messages to others.
drop function agree_on_terms();
create function agree_on_terms_in(lanes int[], alone boolean)
returns table (users_generation bigint, promotions_generation bigint, events_from timestamptz)
language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(hashtext('weir.write'));
    if alone then
        perform pg_advisory_xact_lock(hashtext('weir.copies'), lane) from unnest(lanes) as lane;
    else
        perform pg_advisory_xact_lock_shared(hashtext('weir.copies'), lane) from unnest(lanes) as lane;
    end if;
    -- A statement of its own: it sees what was committed while this waited.
    return query select upkeep.users_generation, upkeep.promotions_generation, upkeep.events_from from upkeep;
end
$$;
