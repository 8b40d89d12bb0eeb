-- The streams whose messages came here, so that what one of them has lost is known when it is gone.
create table streams (
    created       timestamptz primary key,
    last_sequence bigint      not null,  -- of the newest message that it is known to have had
    seen_at       timestamptz not null,
    acknowledged  bigint      not null default 0  -- messages of which an operator knows that they are missing
);
