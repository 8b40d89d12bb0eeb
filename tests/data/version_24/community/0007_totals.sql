-- Refreshes what changed before `horizon`: a row that arrives below the watermark is invisible until then. Later
-- hours stay real-time, and there deltas merge in place.
-- Called at top level (it commits in between), one caller at a time.
create or replace procedure roll_up(horizon timestamp) language plpgsql as $$
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
