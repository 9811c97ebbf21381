-- What somebody changed.
INSERT INTO audit (actor, address, action, subject, before, after)
VALUES ($1::text, $2::text, $3::text, $4::text, $5::jsonb, $6::jsonb)
RETURNING audit_id;
