-- SPDX-License-Identifier: MIT
-- A table of 10,000 rows in a file, and questions whose answers do not depend on
-- time or chance.
CREATE TABLE stars (
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL,
	class TEXT NOT NULL,
	magnitude REAL NOT NULL
);

BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
INSERT INTO stars
SELECT i, printf('star-%05d', i), substr('OBAFGKM', 1 + (i * 7919) % 7, 1),
	((i * 104729) % 2000) / 100.0
FROM n;
COMMIT;
CREATE INDEX stars_by_class ON stars (class, magnitude);
UPDATE stars SET magnitude = magnitude - 0.5 WHERE id % 3 = 0;
DELETE FROM stars WHERE magnitude < 0;

SELECT 'rows', count(*), round(sum(magnitude), 2) FROM stars;
SELECT class, count(*), min(magnitude), max(magnitude), round(avg(magnitude), 4)
FROM stars GROUP BY class ORDER BY class;
SELECT name, magnitude FROM stars WHERE class = 'G' ORDER BY magnitude, name LIMIT 5;
PRAGMA integrity_check;
