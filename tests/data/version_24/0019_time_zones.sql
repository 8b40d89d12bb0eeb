-- The rules of time zones by which days of projects are counted: the same for all who write and ask, whatever rules the
-- machine has on which they run.
create table time_zones (
    name    text  primary key collate "C",
    version text  not null collate "C",  -- the release of the IANA database: 2026f
    rules   bytea not null               -- TZif (RFC 9636)
);

-- Days that are to be counted anew from the events, because their project's zone has got other rules.
create table recounts (
    project_id   int  not null references projects on delete cascade,
    first_day    date not null,
    last_day     date not null,
    recounted_to date,
    primary key (project_id, first_day)
);

-- Under a new name, so that writers of an earlier version, which have rules of their own, stop here and leave their messages
-- to others.
alter function agree_on_terms_in(int[], boolean) rename to agree_in_lanes;
