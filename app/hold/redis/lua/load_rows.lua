-- Takes over rows of Postgres by version, while everything is loaded: as one text, there are very many.
-- KEYS[1] loading: guard
-- ARGV[1] epoch
-- ARGV[2] prefix of the keys of this epoch, for the flights of the rows
-- ARGV[3] a line each row: flight|cabin|version|limits|sold|flight version
-- RETURNS EPOCH | LOADED
--@include frame
--@include inventory

if not is_current() then
  return { 'EPOCH' }
end
local one_row = '([^|\n]+)|([^|]+)|(%d+)|([%d,]*)|([%d,]*)|(%d+)'
for flight, cabin, version, limits, sold, flight_version in string.gmatch(ARGV[3], one_row) do
  take_over(ARGV[2] .. 'f:' .. flight, cabin, version, limits, sold, flight_version)
end
return { 'LOADED' }
