-- What writers must agree on before they commit. They read it under a shared lock (begin_write); who changes it and
-- must know that no writer works with what was before, takes the lock alone for a moment (wait_for_writers).
create table upkeep (
    only_row         boolean     primary key default true check (only_row),
    users_generation bigint      not null default 0,  -- grows with each user who is deleted
    events_from      timestamptz                      -- events before this were dropped, and are not taken again
);
insert into upkeep default values;

create function begin_write() returns table (users_generation bigint, events_from timestamptz)
language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(hashtext('weir.write'));
    -- A statement of its own: it sees what was committed while this waited.
    return query select upkeep.users_generation, upkeep.events_from from upkeep;
end
$$;

create function wait_for_writers() returns void language sql as $$
    select pg_advisory_xact_lock(hashtext('weir.write'))
$$;

-- Users who were deleted, by a hash of their id, for as long as events of theirs may lie in a stream: what was received
-- until then is not stored. Afterwards the id is that of a new user, with `since` as its beginning.
create table deleted_users (
    project_id int         not null references projects,
    user_hash  bytea       not null,  -- SHA-256 of project and id
    deleted_at timestamptz not null,
    primary key (project_id, user_hash)
);
alter table users add column since timestamptz;

-- What is still to be removed of them: a row goes when nothing is left.
create table user_deletions (
    project_id int         not null references projects,
    user_no    int         not null,
    deleted_at timestamptz not null,
    primary key (project_id, user_no)
);

-- The messages of the stream of events that were dealt with, by their numbers, written in the transaction that stored
-- their events. So what the stream has given away can be compared with what has arrived here.
create table settled_messages (
    stream    timestamptz    not null,  -- when the stream was created: a new one counts from 1 again
    sequences int8multirange not null
);
