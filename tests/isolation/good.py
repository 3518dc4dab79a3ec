# %%
import os

with open("data/numbers.txt") as file:
    total = sum(int(line) for line in file)
print("the sum is", total)

# %%
os.makedirs("outputs", exist_ok=True)
with open("outputs/sum.csv", "w") as file:
    file.write(f"sum\n{total}\n")
