-- Applies inventory rows by version while an epoch is loaded; one text, since there are very many.
-- KEYS[1] loading: the epoch check
-- ARGV[1] epoch
-- ARGV[2] prefix of this epoch's keys, for the flights of the rows
-- ARGV[3] one line for each row: flight|cabin|version|limits|sold|flight version
-- RETURNS EPOCH | LOADED
--@include frame
--@include inventory

if not is_current() then
  return { 'EPOCH' }
end
local one_row = '([^|\n]+)|([^|]+)|(%d+)|([%d,]*)|([%d,]*)|(%d+)'
for flight, cabin, version, limits, sold, flight_version in string.gmatch(ARGV[3], one_row) do
  apply_row(ARGV[2] .. 'f:' .. flight, cabin, version, limits, sold, flight_version)
end
return { 'LOADED' }
