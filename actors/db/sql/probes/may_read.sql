-- What each of those who ask may read on a private topic: to read is to see a probe row that we wrote ourselves.
-- Made in the temporary schema of a session, called in a transaction that is rolled back (actors/db/policies.py).
-- Each question is a subtransaction with the role, claims, topic and headers of who asks, rolled back whatever it said,
-- so nothing of one reaches the next. TR000 is raised by ourselves: the question was decided.
-- Source: spec 7 for the columns of a probe row and the settings that policies see.
CREATE OR REPLACE FUNCTION pg_temp.may_read(
    _topics text[], _roles text[], _claims text[], _subs text[], _headers text[], _wants_presence boolean[])
RETURNS TABLE (_broadcast boolean, _presence boolean, _failure text)
LANGUAGE plpgsql AS $function$
#variable_conflict use_column
DECLARE
    _now timestamp := pg_catalog.timezone('utc', pg_catalog.now());
    _broadcast_ids uuid[];
    _presence_ids uuid[];
BEGIN
    SELECT pg_catalog.array_agg(pg_catalog.gen_random_uuid()), pg_catalog.array_agg(pg_catalog.gen_random_uuid())
        INTO _broadcast_ids, _presence_ids FROM pg_catalog.unnest(_topics);
    INSERT INTO realtime.messages (id, topic, extension, inserted_at, updated_at)
        SELECT probe.id, probe.topic, 'broadcast', _now, _now
        FROM ROWS FROM (pg_catalog.unnest(_broadcast_ids), pg_catalog.unnest(_topics)) AS probe(id, topic)
        UNION ALL
        SELECT probe.id, probe.topic, 'presence', _now, _now
        FROM ROWS FROM (pg_catalog.unnest(_presence_ids), pg_catalog.unnest(_topics),
            pg_catalog.unnest(_wants_presence)) AS probe(id, topic, is_wanted)
        WHERE probe.is_wanted;
    FOR _place IN 1 .. pg_catalog.cardinality(_topics) LOOP
        _broadcast := false;
        _presence := false;
        _failure := NULL;
        BEGIN
            PERFORM pg_catalog.set_config('realtime.topic', _topics[_place], true),
                pg_catalog.set_config('request.jwt.claims', _claims[_place], true),
                pg_catalog.set_config('request.jwt.claim.sub', _subs[_place], true),
                pg_catalog.set_config('request.jwt.claim.role', _roles[_place], true),
                pg_catalog.set_config('request.headers', _headers[_place], true),
                pg_catalog.set_config('role', _roles[_place], true);
            SELECT coalesce(pg_catalog.bool_or(id = _broadcast_ids[_place]), false),
                coalesce(pg_catalog.bool_or(id = _presence_ids[_place]), false)
                INTO _broadcast, _presence FROM realtime.messages
                WHERE id IN (_broadcast_ids[_place], _presence_ids[_place]) AND inserted_at = _now;
            RAISE SQLSTATE 'TR000';
        EXCEPTION
            WHEN SQLSTATE 'TR000' THEN NULL;
            WHEN OTHERS OR ASSERT_FAILURE THEN
                _broadcast := false;
                _presence := false;
                _failure := SQLSTATE;
        END;
        RETURN NEXT;
    END LOOP;
END
$function$
