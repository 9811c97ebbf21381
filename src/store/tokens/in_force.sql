-- Which of these secrets, of tokens or of sessions, open something still.
SELECT p.sha256
  FROM unnest($1::bytea[]) AS p(sha256)
 WHERE EXISTS (SELECT FROM token t WHERE t.secret_sha256 = p.sha256 AND t.revoked_at IS NULL)
    OR EXISTS (SELECT FROM session s JOIN token t USING (token_id)
                WHERE s.session_sha256 = p.sha256 AND s.expires_at > clock_timestamp() AND t.revoked_at IS NULL);
