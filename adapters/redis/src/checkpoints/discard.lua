-- Takes out a checkpoint that is of no use, so that a full server has room for the one that comes in its place. A full
-- server runs it.
--
-- ARGV  the mark of the checkpoint that the log contradicts; one that is damaged is taken out whatever its mark
--
-- Answers 1 if it took one out.

local state, damage = look()
if not damage and not (state and state.mark == ARGV[1]) then return 0 end
redis.call('UNLINK', meta, live, done, rows, index, redo, old)
return 1
