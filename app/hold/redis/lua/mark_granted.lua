-- Marks keys that were granted a hold before anyone marked them.
-- KEYS[1] epoch: guard
-- KEYS[2] clock
-- KEYS[3] marking: there while a process is at it
-- KEYS[4] all are marked
-- ARGV[1] epoch
-- ARGV[2] prefix
-- ARGV[3] lease of who is at it, milliseconds
-- ARGV[4] ALL where these are the last of them, else MORE
-- ARGV[5] mark of each, with commas between
-- RETURNS EPOCH | MARKED
-- TTL of `marking` alone: its lease
--@include frame
--@include key_filter

if not is_current() then
  return { 'EPOCH' }
end
local now = read_clock(KEYS[2])
redis.call('SET', KEYS[2], whole(now)) -- else its day could be one that no script comes to for long
mark_granted(ARGV[2], numbers(ARGV[5]), now)
if ARGV[4] == 'ALL' then
  redis.call('SET', KEYS[4], 1)
  redis.call('DEL', KEYS[3])
else
  redis.call('SET', KEYS[3], 1)
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
end
return { 'MARKED' }
