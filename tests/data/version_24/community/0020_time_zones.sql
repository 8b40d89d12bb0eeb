-- Takes the rows of a day out of activity. One caller at a time, and not while activity is rolled up: the next roll-up brings
-- it into the continuous aggregates.
create procedure remove_day(of_project int, day timestamp) language plpgsql as $$
begin
    delete from activity where project_id = of_project and local_hour >= day and local_hour < day + interval '1 day';
end
$$;
