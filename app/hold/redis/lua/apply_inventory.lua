-- Applies inventory rows by version: after a cancellation, or a PUT or PATCH of a flight.
-- KEYS[1] epoch: the epoch check
-- KEYS[2..] flight of each row
-- ARGV[1] epoch
-- ARGV[2] name of the write barrier to lift, if the flights still have it; or ''
-- ARGV[3..] of each row: cabin, version, limits, sold, flight version
-- RETURNS EPOCH | APPLIED
--@include frame
--@include inventory

if not is_current() then
  return { 'EPOCH' }
end
for i = 2, #KEYS do
  local at = 3 + (i - 2) * 5
  apply_row(KEYS[i], ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
  if ARGV[2] ~= '' and redis.call('HGET', KEYS[i], 'fenced_by') == ARGV[2] then
    redis.call('HDEL', KEYS[i], 'fenced_until', 'fenced_by')
  end
end
return { 'APPLIED' }
