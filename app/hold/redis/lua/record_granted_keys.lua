-- Adds idempotency keys to the key filter that were granted a hold in an earlier epoch.
-- KEYS[1] epoch: the epoch check
-- KEYS[2] clock
-- KEYS[3] marking: lease of the process that fills the filter
-- KEYS[4] granted:all: the filter is complete
-- ARGV[1] epoch
-- ARGV[2] prefix of this epoch's keys, for the filter
-- ARGV[3] length of that lease, milliseconds
-- ARGV[4] ALL if these are the last, else MORE
-- ARGV[5] bit of each key, separated by commas
-- RETURNS EPOCH | MARKED
-- TTL of `marking` alone: its lease
--@include frame
--@include key_filter

if not is_current() then
  return { 'EPOCH' }
end
local now = read_clock(KEYS[2])
redis.call('SET', KEYS[2], whole(now)) -- so that no script reads an earlier day than the one written
record_granted_keys(ARGV[2], numbers(ARGV[5]), now)
if ARGV[4] == 'ALL' then
  redis.call('SET', KEYS[4], 1)
  redis.call('DEL', KEYS[3])
else
  redis.call('SET', KEYS[3], 1)
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
end
return { 'MARKED' }
