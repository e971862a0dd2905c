-- What each of those who ask may write on a private topic: to write is to insert a row.
-- Made in the temporary schema of a session, called in a transaction that is rolled back (actors/db/probe_sessions.py).
-- Each question is a subtransaction with the role, claims, topic and headers of who asks, rolled back whatever it said,
-- so nothing of one reaches the next. TR000 is raised by ourselves: the question was decided.
-- A question that takes too long is the last one answered: the time of a statement is over only once.
-- Plans are kept from one question to the next if nothing of who asked can be in them (actors/db/plan_reuse.py).
-- Source: spec 7 for the columns of a probe row and the settings that policies see.
CREATE OR REPLACE FUNCTION pg_temp.may_write(
    _keeps_plans boolean, _topics text[], _roles text[], _claims text[], _subs text[], _headers text[],
    _wants_presence boolean[])
RETURNS TABLE (_broadcast boolean, _presence boolean, _failure text)
LANGUAGE plpgsql AS $function$
#variable_conflict use_column
BEGIN
    FOR _place IN 1 .. pg_catalog.cardinality(_topics) LOOP
        _broadcast := false;
        _presence := false;
        _failure := NULL;
        IF NOT _keeps_plans THEN
            EXECUTE 'DISCARD PLANS';
        END IF;
        BEGIN
            PERFORM pg_catalog.set_config('realtime.topic', _topics[_place], true),
                pg_catalog.set_config('request.jwt.claims', _claims[_place], true),
                pg_catalog.set_config('request.jwt.claim.sub', _subs[_place], true),
                pg_catalog.set_config('app.current_user_id', _subs[_place], true),
                pg_catalog.set_config('request.jwt.claim.role', _roles[_place], true),
                pg_catalog.set_config('request.headers', _headers[_place], true),
                pg_catalog.set_config('role', _roles[_place], true);
            BEGIN
                INSERT INTO realtime.messages (topic, extension) VALUES (_topics[_place], 'broadcast');
                -- A trigger may have swallowed it.
                _broadcast := FOUND;
                RAISE SQLSTATE 'TR000';
            EXCEPTION
                WHEN SQLSTATE 'TR000' OR insufficient_privilege THEN NULL;
            END;
            BEGIN
                INSERT INTO realtime.messages (topic, extension) VALUES (_topics[_place], 'presence');
                _presence := FOUND;
                RAISE SQLSTATE 'TR000';
            EXCEPTION
                WHEN SQLSTATE 'TR000' OR insufficient_privilege THEN NULL;
            END;
            RAISE SQLSTATE 'TR000';
        EXCEPTION
            WHEN SQLSTATE 'TR000' THEN NULL;
            WHEN OTHERS OR ASSERT_FAILURE OR QUERY_CANCELED THEN
                _broadcast := false;
                _presence := false;
                _failure := SQLSTATE;
        END;
        RETURN NEXT;
        EXIT WHEN _failure = '57014';
    END LOOP;
END
$function$
