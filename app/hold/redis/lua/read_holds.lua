-- Reads the state of each hold. Writes only the clock, if one has expired: the journal is about to record
-- it, and a clock that is set back must not revive the hold meanwhile.
-- KEYS[1] epoch: the epoch check
-- KEYS[2] clock
-- KEYS[3..] memo of each hold
-- ARGV[1] epoch
-- RETURNS EPOCH | READ now, then for each hold: state or UNKNOWN, expires_at or ''
--@include frame

if not is_current() then
  return { 'EPOCH' }
end
local now = read_clock(KEYS[2])
local answer = { 'READ', whole(now) }
for i = 3, #KEYS do
  local memo = redis.call('HMGET', KEYS[i], 'state', 'expires_at')
  local state = memo[1] or 'UNKNOWN'
  if state == 'HELD' and tonumber(memo[2]) <= now then
    state = 'EXPIRED'
    redis.call('SET', KEYS[2], whole(now))
  end
  answer[#answer + 1] = state
  answer[#answer + 1] = memo[2] or ''
end
return answer
