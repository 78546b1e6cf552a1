-- Opens a loaded epoch: its scripts may run, and read no time before the last grant of earlier epochs.
-- KEYS[1] loading: the epoch check
-- KEYS[2] epoch
-- KEYS[3] clock
-- ARGV[1] epoch
-- ARGV[2] clock at least, microseconds
-- RETURNS EPOCH | OPENED
--@include frame

if not is_current() then
  return { 'EPOCH' }
end
redis.call('SET', KEYS[3], whole(math.max(tonumber(ARGV[2]), read_clock(KEYS[3]))))
redis.call('SET', KEYS[2], ARGV[1])
return { 'OPENED' }
