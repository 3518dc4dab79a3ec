# %%
print("before the bomb")

# %%
import os
import time

held = []
for _ in range(600):
    held.append(os.urandom(1024) * 10240)
time.sleep(600)
