-- Closes the open epoch and takes the load lease of a new one; the highest epoch wins.
-- KEYS[1] loading
-- KEYS[2] epoch
-- ARGV[1] epoch to be loaded
-- RETURNS BEGUN | REFUSED
local newest = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) <= newest then
  return { 'REFUSED' }
end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
return { 'BEGUN' }
