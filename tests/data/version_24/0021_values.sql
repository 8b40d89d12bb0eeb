-- A value as a breakdown tells it: null, if there is none; of one element, if it is a text, a number or a truth value; empty,
-- if it is told with the rest: lists and objects are no values to break down by, nor are texts of more than 200 bytes. A
-- number has one way of being written: 10 and 10.0 are one value.
create function told_value(value jsonb) returns text[] language plpgsql immutable parallel safe as $$
declare
    told text;
begin
    case jsonb_typeof(value)
        when 'array', 'object' then return '{}';
        when 'number' then told := trim_scale(value::numeric)::text;
        else told := value #>> '{}';  -- of nothing, and of JSON's null, it is null
    end case;
    return case when octet_length(told) > 200 then '{}' when told is not null then array[told] end;
end
$$;
